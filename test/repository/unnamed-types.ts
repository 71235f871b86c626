import { dirname } from 'node:path';
import ts from 'typescript';

/**
 * Types of our own that the declarations of what `entry` exports speak of and that it doesn't export: who writes a function around
 * ours can't name them. One line each, with the first place.
 */
export function unnamedTypes(entry: string): string[] {
  const options = { module: ts.ModuleKind.NodeNext, types: ['node'], skipLibCheck: true };
  const program = ts.createProgram([entry], options);
  const checker = program.getTypeChecker();
  const symbolAt = (node: ts.Node) => {
    const symbol = checker.getSymbolAtLocation(node)!;
    return symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  };
  const folder = dirname(dirname(entry));
  const isOurs = (symbol: ts.Symbol) =>
    !(symbol.flags & ts.SymbolFlags.TypeParameter) &&
    symbol.declarations?.some((each) => each.getSourceFile().fileName.startsWith(folder)) === true;

  const exported = checker.getExportsOfModule(symbolAt(program.getSourceFile(entry)!));
  const named = new Set<ts.Symbol>();
  const declared: { readonly name: string; readonly declaration: ts.Declaration }[] = [];
  for (const symbol of exported) {
    const { flags } = symbol;
    const meant = flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    named.add(meant);
    for (const declaration of meant.declarations ?? []) {
      declared.push({ name: symbol.name, declaration });
      // `type A = B` gives B a name.
      if (ts.isTypeAliasDeclaration(declaration) && ts.isTypeReferenceNode(declaration.type))
        named.add(symbolAt(declaration.type.typeName));
    }
  }

  const unnamed = new Map<ts.Symbol, string>();
  const look = (node: ts.Node, place: string): void => {
    if (isPrivate(node)) return;
    const reference = referenceIn(node);
    const symbol = reference && symbolAt(reference);
    if (symbol && isOurs(symbol) && !named.has(symbol) && !unnamed.has(symbol))
      unnamed.set(symbol, `${symbol.name}, in ${place}`);
    const isMember = ts.isClassElement(node) || ts.isTypeElement(node);
    const inside = isMember && node.name ? `${place}.${node.name.getText()}` : place;
    ts.forEachChild(node, (child) => look(child, inside));
  };
  for (const { name, declaration } of declared) look(declaration, name);
  return [...unnamed.values()];
}

/** What a reference to a type names; what a type is inferred from (`typeof`) is a value. */
function referenceIn(node: ts.Node): ts.Node | undefined {
  if (ts.isTypeReferenceNode(node)) return node.typeName;
  if (ts.isExpressionWithTypeArguments(node)) return node.expression;
  return ts.isImportTypeNode(node) ? node.qualifier : undefined;
}

function isPrivate(node: ts.Node): boolean {
  return (
    ts.canHaveModifiers(node) &&
    node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword) === true
  );
}
