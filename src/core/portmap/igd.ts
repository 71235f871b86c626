import { canonicalAddress, isAddress } from '../address.ts';
import { SallyportError } from '../errors.ts';
import { printable } from '../remote-failure.ts';
import type { MappingRequest } from './mapping.ts';
import { gatewayUrl } from './ssdp.ts';
import { elementText, escapeXml } from './xml.ts';

/** The service of a router that maps ports (UPnP WANIPConnection:1 and :2, WANPPPConnection:1). */
export interface WanService {
  readonly type: string;
  readonly control: URL;
}

/** A SOAP call as it goes over HTTP. */
export interface SoapCall {
  readonly action: string;
  readonly body: string;
}

/** A router's refusal, with its number (UPnP WANIPConnection:1 §2.4). */
export class UpnpRefusal extends SallyportError {
  readonly number: number;

  constructor(number: number, description: string) {
    super('UNSUPPORTED', `the router refuses by UPnP: ${number} ${description}`.trim());
    this.number = number;
  }
}

/** The mapping exists for another host. */
export const CONFLICT = 718;
/** The external port must be the internal one. */
export const SAME_PORT_REQUIRED = 724;
/** Only mappings without an end (lifetime 0). */
export const PERMANENT_ONLY = 725;

/**
 * Finds the service in a device description (UPnP Device Architecture 1.1 §2.3).
 * @param location where the description came from
 * @throws SallyportError `UNSUPPORTED` where there is none, `PROTOCOL_ERROR` where it lies on another host
 */
export function readDescription(xml: string, location: URL): WanService {
  const gateway = location.hostname;
  const base = elementText(xml, 'URLBase') || location.href;
  for (const block of xml.split('</service>')) {
    const service = block.slice(block.lastIndexOf('<service>'));
    const type = elementText(service, 'serviceType') ?? '';
    const control = elementText(service, 'controlURL');
    if (!SERVICE_TYPE.test(type) || control === undefined) continue;
    return { type, control: gatewayUrl(control, gateway, gatewayUrl(base, gateway).href) };
  }
  throw new SallyportError('UNSUPPORTED', 'the router maps no ports by UPnP');
}

export function addPortMapping(service: WanService, request: MappingRequest, host: string): SoapCall {
  return soapCall(service, 'AddPortMapping', {
    NewRemoteHost: '',
    NewExternalPort: request.externalPort,
    NewProtocol: request.transport.toUpperCase(),
    NewInternalPort: request.internalPort,
    NewInternalClient: host,
    NewEnabled: 1,
    NewPortMappingDescription: 'sallyport',
    NewLeaseDuration: request.lifetimeSeconds,
  });
}

export function deletePortMapping(service: WanService, request: MappingRequest): SoapCall {
  return soapCall(service, 'DeletePortMapping', {
    NewRemoteHost: '',
    NewExternalPort: request.externalPort,
    NewProtocol: request.transport.toUpperCase(),
  });
}

export function getExternalAddress(service: WanService): SoapCall {
  return soapCall(service, 'GetExternalIPAddress', {});
}

/** @throws SallyportError `UNSUPPORTED` where the router has none, as behind a carrier's NAT some say */
export function readExternalAddress(xml: string): string {
  const address = elementText(xml, 'NewExternalIPAddress') ?? '';
  if (!isAddress(address)) throw new SallyportError('UNSUPPORTED', 'the router has no external address');
  return canonicalAddress(address);
}

/** @throws UpnpRefusal unless the call succeeded */
export function checkSoapAnswer(status: number, xml: string): void {
  if (status === 200) return;
  const number = Number(elementText(xml, 'errorCode'));
  const description = printable((elementText(xml, 'errorDescription') ?? '').slice(0, 100));
  throw new UpnpRefusal(Number.isInteger(number) && number > 0 ? number : status, description);
}

function soapCall({ type }: WanService, name: string, values: Record<string, string | number>): SoapCall {
  const fields = Object.entries(values).map(([key, value]) => `<${key}>${escapeXml(String(value))}</${key}>`);
  return {
    action: `"${type}#${name}"`,
    body: [
      '<?xml version="1.0"?>',
      '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"',
      ' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>',
      `<u:${name} xmlns:u="${type}">${fields.join('')}</u:${name}>`,
      '</s:Body></s:Envelope>',
    ].join(''),
  };
}

const SERVICE_TYPE = /^urn:schemas-upnp-org:service:(WANIPConnection:[12]|WANPPPConnection:1)$/;
