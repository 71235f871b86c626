/** Who asked for the session, and who was asked. */
export type SessionRole = 'initiator' | 'responder';

export function otherRole(role: SessionRole): SessionRole {
  return role === 'initiator' ? 'responder' : 'initiator';
}
