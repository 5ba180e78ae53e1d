import { type ErrorCode, isPipelineError } from "@smile/errors/pipeline-error";

/** The code that work is refused with. */
export async function codeOf(work: () => unknown): Promise<ErrorCode | "accepted"> {
  try {
    await work();
  } catch (error) {
    if (isPipelineError(error)) return error.code;
    throw error;
  }
  return "accepted";
}
