// make.ts NAME: builds one guest where it is not there yet; debian.ts runs it under a lock.

import { makeGuest } from "./debian.ts";
import type { GuestName } from "./recipe.ts";

await makeGuest(process.argv[2] as GuestName);
