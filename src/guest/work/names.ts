import { join } from "node:path";

/** Short, because the path of a Unix socket in it is limited. */
export const folderPrefix = "mk-guest-";
export const folderName = /^mk-guest-\w{6}$/;

/** Of the run that made the folder: it listens there as long as it lives. */
export const markOf = (folder: string): string => join(folder, "owner");
