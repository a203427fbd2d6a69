/** Refusals as CloudStack's API words them. The code is also the HTTP status. */

export const apiErrorCodes = {
  unauthorized: 401,
  apiLimit: 429,
  parameter: 431,
  unsupportedAction: 432,
  internal: 530,
  account: 531,
  insufficientCapacity: 533,
  resourceUnavailable: 534,
  resourceAllocation: 535,
} as const;

export class ApiError extends Error {
  readonly code: number;
  /** Inside a job CloudStack wraps what an account may not do, or has no room for. */
  readonly codeInJob: number;

  constructor(code: number, text: string) {
    super(text);
    this.name = "ApiError";
    this.code = code;
    this.codeInJob = code === apiErrorCodes.account ? apiErrorCodes.internal : code;
  }
}

export function parameterError(text: string): ApiError {
  return new ApiError(apiErrorCodes.parameter, text);
}

export function internalError(text: string): ApiError {
  return new ApiError(apiErrorCodes.internal, text);
}

export function noSuchEntity(command: string, parameter: string, value: string): ApiError {
  return parameterError(
    `Unable to execute API command ${command.toLowerCase()} due to invalid value. Invalid parameter ` +
      `${parameter} value=${value} due to incorrect long value format, or entity does not exist or ` +
      "due to incorrect parameter annotation for the field in api cmd class.",
  );
}

export function permissionDenied(account: string, what: string): ApiError {
  return new ApiError(
    apiErrorCodes.account,
    `Acct[${account}] does not have permission to operate with resource ${what}`,
  );
}

/** The body of an error as the API answers it, below the response's name. */
export function errorBody(error: ApiError): object {
  const cserrorcode = error.code === apiErrorCodes.parameter ? 9999 : 4250;
  return { uuidList: [], errorcode: error.code, cserrorcode, errortext: error.message };
}
