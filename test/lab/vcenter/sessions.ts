/** Users and their sessions. A session also owns views, filters and property collectors. */

import { randomBytes, randomUUID } from "node:crypto";
import type { FilterState } from "./filter-state.ts";
import type { ManagedObject } from "./managed-object.ts";
import type { Selection } from "./property-filter.ts";
import { type VimObject, vimObject } from "./vim-values.ts";

export interface UserAccount {
  username: string;
  password: string;
  /** Privileges that this account lacks; `*` for all but System.*. */
  missingPrivileges?: readonly string[];
}

/** A property collector: the default one of the session, or one that the client created. */
export interface CollectorState {
  readonly filters: Map<string, FilterState>;
  /** Wakes a WaitForUpdatesEx that is under way. */
  cancelWait?: () => void;
}

/** What is left of a retrieval after a page. */
export interface Continuation {
  readonly rest: readonly Selection[];
  /** Most objects in a page, as the client asked for. */
  readonly limit: number;
  /** The token that this page was asked for with: valid until the next one is used. */
  readonly previous?: string;
}

export class Session {
  readonly token = randomBytes(20).toString("hex");
  readonly key = randomUUID();
  readonly user: UserAccount;
  readonly loginTime = new Date();
  lastActiveTime = new Date();
  /** Views made in this session, by moref. */
  readonly views = new Map<string, ManagedObject>();
  readonly collectors = new Map<string, CollectorState>();
  /** Of paged retrievals, by token. */
  readonly continuations = new Map<string, Continuation>();

  constructor(user: UserAccount) {
    this.user = user;
  }

  hasPrivilege(privilege: string): boolean {
    const missing = this.user.missingPrivileges ?? [];
    if (privilege.startsWith("System.")) return true;
    return !missing.includes("*") && !missing.includes(privilege);
  }

  userSession(): VimObject {
    return vimObject("UserSession", {
      key: this.key,
      userName: this.user.username,
      fullName: this.user.username,
      loginTime: this.loginTime,
      lastActiveTime: this.lastActiveTime,
      locale: "en",
      messageLocale: "en",
      extensionSession: false,
      ipAddress: "127.0.0.1",
      userAgent: "lab",
      callCount: 0,
    });
  }
}

export class Sessions {
  readonly #users: readonly UserAccount[];
  readonly #idleMs: number;
  readonly #byToken = new Map<string, Session>();

  constructor(users: readonly UserAccount[], idleMs: number) {
    this.#users = users;
    this.#idleMs = idleMs;
  }

  get users(): readonly UserAccount[] {
    return this.#users;
  }

  /** Undefined when the name or the password is wrong. */
  login(username: string, password: string): Session | undefined {
    const user = this.#users.find(
      (candidate) => candidate.username === username && candidate.password === password,
    );
    if (!user) return undefined;
    const session = new Session(user);
    this.#byToken.set(session.token, session);
    return session;
  }

  /** The live session of a cookie; idle ones are ended here. */
  find(token: string | undefined): Session | undefined {
    const session = token === undefined ? undefined : this.#byToken.get(token);
    if (!session) return undefined;
    if (Date.now() - session.lastActiveTime.getTime() > this.#idleMs) {
      this.end(session);
      return undefined;
    }
    session.lastActiveTime = new Date();
    return session;
  }

  all(): Session[] {
    return [...this.#byToken.values()];
  }

  end(session: Session): void {
    for (const collector of session.collectors.values()) collector.cancelWait?.();
    this.#byToken.delete(session.token);
  }

  expireAll(): void {
    for (const session of this.all()) this.end(session);
  }
}
