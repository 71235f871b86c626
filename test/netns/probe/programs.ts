import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import ts from 'typescript';
import { TemporaryFolder } from '../temporary-folder.mjs';

const NAMES = ['mapping', 'measure', 'punch', 'reflect'] as const;

/** The probe programs as plain JavaScript, so that they start in the time that node needs. */
export interface Programs {
  path(name: (typeof NAMES)[number]): string;
  remove(): Promise<void>;
}

export async function buildPrograms(): Promise<Programs> {
  const folder = new TemporaryFolder('probe');
  for (const name of NAMES) {
    const source = await readFile(new URL(`${name}.ts`, import.meta.url), 'utf8');
    const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 };
    await writeFile(
      join(folder.path, `${name}.mjs`),
      ts.transpileModule(source, { compilerOptions }).outputText,
    );
  }
  return {
    path: (name) => join(folder.path, `${name}.mjs`),
    remove: () => folder.close(),
  };
}
