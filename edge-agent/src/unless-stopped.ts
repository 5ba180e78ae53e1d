/**
 * Waits for a promise or for the signal, whichever is first. Unlike a race against one long-lived promise it leaves nothing behind on
 * the signal, so it may be called for months.
 * @returns undefined when the signal was first; the promise's own end, good or bad, is then nobody's concern
 */
export function unlessStopped<T>(promise: Promise<T>, stop: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const onStop = () => resolve(undefined);
    stop.addEventListener("abort", onStop, { once: true });
    promise.then(resolve, reject).finally(() => stop.removeEventListener("abort", onStop));
    if (stop.aborted) onStop();
  });
}
