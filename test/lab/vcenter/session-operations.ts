/** Service instance, login and session. */

import type { CallContext, Operation } from "./lab-core.ts";
import { serviceContent } from "./managers.ts";
import type { Session } from "./sessions.ts";
import { notAuthenticated, VimFault } from "./vim-fault.ts";

/** The session of the call; NotAuthenticated without one. */
export function requireSession(call: CallContext): Session {
  if (!call.session) throw notAuthenticated(call.self);
  return call.session;
}

export const sessionOperations: Readonly<Record<string, Operation>> = {
  RetrieveServiceContent: ({ lab }) => serviceContent(lab),

  CurrentTime: (call) => {
    requireSession(call);
    return new Date();
  },

  Login: (call) => {
    if (call.session) {
      throw new VimFault("InvalidLogin", "Cannot complete login due to an active session.");
    }
    const { userName, password } = call.parameters;
    const session = call.lab.sessions.login(String(userName), String(password));
    if (!session) {
      throw new VimFault(
        "InvalidLogin",
        "Cannot complete login due to an incorrect user name or password.",
      );
    }
    call.session = session;
    return session.userSession();
  },

  Logout: (call) => {
    call.lab.sessions.end(requireSession(call));
    call.session = undefined;
    return undefined;
  },

  SessionIsActive: (call) => {
    requireSession(call);
    const { sessionID, userName } = call.parameters;
    return call.lab.sessions
      .all()
      .some((other) => other.key === sessionID && other.user.username === userName);
  },

  SetLocale: (call) => {
    requireSession(call);
    return undefined;
  },

  TerminateSession: (call) => {
    const own = requireSession(call);
    const wanted = call.parameters.sessionId as readonly string[];
    for (const session of call.lab.sessions.all()) {
      if (session !== own && wanted.includes(session.key)) call.lab.sessions.end(session);
    }
    return undefined;
  },
};
