import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SallyportError } from '../../../src/core/errors.ts';
import {
  addPortMapping,
  checkSoapAnswer,
  readDescription,
  readExternalAddress,
} from '../../../src/core/portmap/igd.ts';
import { defaultGatewayIn } from '../../../src/core/portmap/routes.ts';
import { readSsdpAnswer } from '../../../src/core/portmap/ssdp.ts';
import { failTyped } from '../typed-failures.ts';

const GATEWAY = '192.168.1.1';
const LOCATION = new URL('http://192.168.1.1:5000/rootDesc.xml');

const answer = (location: string, status = 'HTTP/1.1 200 OK') =>
  new Uint8Array(Buffer.from(`${status}\r\nST: x\r\nLocation: ${location}\r\nEXT:\r\n\r\n`));

const description = (control: string, base = '') => `<?xml version="1.0"?><root>${base}<device><serviceList>
  <service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType><controlURL>/l3</controlURL></service>
  <service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>${control}</controlURL></service>
</serviceList></device></root>`;

const ELSEWHERE = [
  'http://192.168.1.99/admin',
  'http://169.254.169.254/latest',
  'http://router.example/x',
  'https://192.168.1.1/x',
  'http://user:secret@192.168.1.1/x',
  'http://192.168.1.1.example/x',
  'file:///etc/passwd',
  '//10.0.0.1/x',
];

describe('UPnP', () => {
  it("follows an answer to the router's own description", () => {
    expect(readSsdpAnswer(answer(LOCATION.href), GATEWAY).href).toBe(LOCATION.href);
    expect(readDescription(description('/ctl?a=1&amp;b=2'), LOCATION)).toEqual({
      type: 'urn:schemas-upnp-org:service:WANIPConnection:1',
      control: new URL('http://192.168.1.1:5000/ctl?a=1&b=2'),
    });
    const based = description('ctl', '<URLBase>http://192.168.1.1:99/</URLBase>');
    expect(readDescription(based, LOCATION).control.href).toBe('http://192.168.1.1:99/ctl');
  });

  it.each(ELSEWHERE)('goes nowhere but to the router: %s', (url) => {
    const refused = expect.objectContaining({ code: 'PROTOCOL_ERROR' });
    const failureOf = (act: () => unknown) => {
      try {
        return act();
      } catch (error) {
        return error;
      }
    };
    expect(failureOf(() => readSsdpAnswer(answer(url), GATEWAY))).toEqual(refused);
    expect(failureOf(() => readDescription(description(url), LOCATION))).toEqual(refused);
    const based = description('/ctl', `<URLBase>${url}</URLBase>`);
    expect(failureOf(() => readDescription(based, LOCATION))).toEqual(refused);
  });

  it('takes no other answer, too long a one, or a description without the service', () => {
    const refused = (act: () => unknown) => expect(act).toThrow(SallyportError);
    refused(() => readSsdpAnswer(answer(LOCATION.href, 'NOTIFY * HTTP/1.1'), GATEWAY));
    refused(() => readSsdpAnswer(answer(LOCATION.href + '?'.padEnd(3_000, 'x')), GATEWAY));
    refused(() => readSsdpAnswer(new Uint8Array(0), GATEWAY));
    refused(() => readDescription('<service>'.repeat(7_000), LOCATION));
    refused(() => readDescription('', LOCATION));
  });

  it('escapes what it writes, and reads refusals with their number', () => {
    const service = readDescription(description('/ctl'), LOCATION);
    const request = { transport: 'tcp', internalPort: 1, externalPort: 2, lifetimeSeconds: 3 } as const;
    const { action, body } = addPortMapping(service, request, '<&>');
    expect(action).toBe('"urn:schemas-upnp-org:service:WANIPConnection:1#AddPortMapping"');
    expect(body).toContain('<NewInternalClient>&lt;&amp;&gt;</NewInternalClient>');
    expect(body).toContain('<NewProtocol>TCP</NewProtocol>');
    const fault =
      '<s:Fault><errorCode>725</errorCode><errorDescription>Only\nforever</errorDescription></s:Fault>';
    expect(() => checkSoapAnswer(500, fault)).toThrow(expect.objectContaining({ number: 725 }));
    expect(() => checkSoapAnswer(500, fault)).toThrow(/^[^\n]*$/);
    expect(() => checkSoapAnswer(404, '')).toThrow(expect.objectContaining({ number: 404 }));
  });

  it('reads an external address, and refuses what is none', () => {
    const address = (text: string) =>
      readExternalAddress(`<NewExternalIPAddress>${text}</NewExternalIPAddress>`);
    expect(address('44.128.1.1')).toBe('44.128.1.1');
    for (const wrong of ['', '0x7f.1', 'router.example', '44.128.1.1:80']) {
      expect(() => address(wrong)).toThrow(/no external address/);
    }
  });

  it('throws nothing untyped, whatever a router sends', () => {
    const head = 'HTTP/1.1 200 OK\r\nLocation: ';
    const marks = [
      '<URLBase>',
      '<s:controlURL>',
      '<serviceType>',
      '</',
      '<',
      '>',
      '&amp;',
      '//',
      '[',
      '%',
      '\0',
    ];
    const type = 'urn:schemas-upnp-org:service:WANIPConnection:1';
    const piece = fc.constantFrom(head, LOCATION.href, type, description('/ctl'), ...marks);
    const text = fc.array(fc.oneof(piece, fc.string()), { maxLength: 12 }).map((parts) => parts.join(''));
    const readers = [
      (xml: string) => readSsdpAnswer(new Uint8Array(Buffer.from(xml)), GATEWAY),
      (xml: string) => readDescription(xml, LOCATION),
      readExternalAddress,
      (xml: string) => checkSoapAnswer(500, xml),
    ];
    expect(() => failTyped(text, ...readers)).not.toThrow();
  });
});

describe('the default route', () => {
  const head = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n';

  it('is the one of least metric that is up and leads to a router', () => {
    const routes = [
      'eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0',
      'wlan0\t00000000\t0102A8C0\t0003\t0\t0\t50\t00000000\t0\t0\t0',
      'tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0',
      'eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0',
    ];
    expect(defaultGatewayIn(head + routes.join('\n'))).toBe('192.168.2.1');
    expect(defaultGatewayIn(head)).toBe(undefined);
    expect(defaultGatewayIn('')).toBe(undefined);
  });
});
