// Calls of the API in the session of this page. Changes bring the CSRF token along.

/** What the API refuses, as it says it. */
export class ApiProblem extends Error {
  /** @param {number} status @param {{title?: string, detail?: string, code?: string, request_id?: string, errors?: {pointer: string, code: string, message: string}[]}} document */
  constructor(status, document) {
    super(document.detail ?? document.title ?? `The server answered ${status}.`);
    this.status = status;
    this.code = document.code ?? "";
    this.requestId = document.request_id ?? "";
    this.errors = document.errors ?? [];
  }
}

/**
 * @param {string} path e.g. "/api/v1/searches/ID"
 * @param {{method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<any>} the JSON that was answered, null for an answer without a body
 * @throws {ApiProblem} what the API refuses; a TypeError when the server is away
 */
export async function call(path, { method = "GET", body, headers = {}, signal } = {}) {
  const sent = /** @type {Record<string, string>} */ ({ Accept: "application/json", ...headers });
  if (method !== "GET") sent["X-CSRF-Token"] = csrfToken();
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method,
    headers: sent,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal,
    cache: "no-store",
  });
  if (answer.status === 204) return null;
  const text = await answer.text();
  if (answer.ok) return text ? JSON.parse(text) : null;
  let document = {};
  try {
    document = JSON.parse(text);
  } catch {
    // a proxy between us answered
  }
  throw new ApiProblem(answer.status, document);
}

/** @returns {string} what changes must bring along, "" for nobody signed in */
export function csrfToken() {
  return document.querySelector('meta[name="csrf-token"]')?.getAttribute("content") ?? "";
}
