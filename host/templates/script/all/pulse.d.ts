// The types of pulse.js.

interface Console {
  debug(...values: unknown[]): void;
  log(...values: unknown[]): void;
  info(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
}
declare global {
  var console: Console;
}

// ---- Settings ----

/** A setting of type T. */
export interface Setting<T> {
  readonly schema: Record<string, unknown>;
  readonly required: boolean;
  read(value: unknown, at: string, wrong: string[]): T;
}
export interface Words<T> {
  description?: string;
  default?: T;
}
type Text = Words<string> & { format?: string; writeOnly?: boolean; minLength?: number; maxLength?: number; pattern?: string; enum?: readonly string[] };
type Numbers = Words<number> & { minimum?: number; maximum?: number };

interface Of<T, O> {
  (options: O & { optional: true }): Setting<T | undefined>;
  (options?: O): Setting<T>;
}

/** The types that a setting can have. `timeoutMs` is written `timeout-ms` in the configuration. */
export const setting: {
  text: Of<string, Text>;
  integer: Of<number, Numbers>;
  number: Of<number, Numbers>;
  flag: Of<boolean, Words<boolean>>;
  list<T>(items: Setting<T>, options?: Words<T[]>): Setting<T[]>;
  /** A table whose keys are anything. */
  map<T>(values: Setting<T>, options?: Words<Record<string, T>>): Setting<Record<string, T>>;
  /** A table with settings of its own. */
  object<S extends Shape>(shape: S, options?: Words<Settings<S>>): Setting<Settings<S>>;
};
export type Shape = Record<string, Setting<unknown>>;
export type Settings<S extends Shape> = { readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never };

// ---- Jobs ----

export interface Subject {
  monitor: string;
  /** `default` where the operator configured no tenants. */
  tenant: string;
  labels: { name: string; value: string }[];
}
export interface Attempt {
  number: number;
  /** Milliseconds that the job has in all; the host cuts it when they have passed. */
  deadlineMs: number;
  /** Milliseconds since the Unix epoch. */
  scheduledAt: number;
}
export interface Incident {
  id: string;
  /** What alert receivers group by. */
  key: string;
  /** Milliseconds since the Unix epoch. */
  openedAt: number;
  summary: string;
  reason: string;
}
export interface Job<S extends Shape> {
  subject: Subject;
  attempt: Attempt;
  settings: Settings<S>;
}
export interface InterventionJob<S extends Shape> extends Job<S> {
  incident: Incident;
  /** The same for every delivery of this very attempt. */
  idempotencyKey: string;
}
export type Color = "yellow" | "red" | "cyan" | "green" | "gray" | "purple";
export interface CodeJob<S extends Shape> extends Job<S> {
  color: Color;
  title: string;
  body: string;
  /** Milliseconds since the Unix epoch. */
  happenedAt: number;
  reminder: boolean;
  incident: Incident | null;
  incidentKey: string;
  /** The same for every repeat of this very alert to this very sink. */
  deliveryId: string;
}

// ---- Answers ----

/** `name` in snake case without the unit, which is `s`, `By`, `1` or `%`. */
export interface Measurement {
  name: string;
  value: number;
  unit: string;
}
export interface Report {
  status: "healthy" | "degraded" | "unhealthy";
  summary: string;
  reason: string | null;
  measurements: Measurement[];
}
export function healthy(summary: string, measurements?: Measurement[]): Report;
export function degraded(reason: string, summary: string, measurements?: Measurement[]): Report;
export function unhealthy(reason: string, summary: string, measurements?: Measurement[]): Report;

export class Fault extends Error {
  constructor(tag: "invalid-settings" | "unsupported" | "internal", message: string);
}
export class ActionFailure extends Error {
  constructor(tag: "retryable" | "permanent" | "effect-unknown", message: string);
}
export class DeliveryFailure extends Error {
  constructor(tag: "retryable" | "permanent", message: string, afterMs?: number | null);
}

// ---- HTTP ----

export interface RequestOptions {
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  redirects?: number;
  family?: "any" | "v4" | "v6";
  timeoutMs?: number;
  maxBodyBytes?: number;
  tls?: {
    ca: string | null;
    clientCertificate: { chain: string; key: string } | null;
    serverName: string | null;
    insecure: boolean;
  };
}
export interface Response {
  status: number;
  version: string;
  headers: { name: string; value: string }[];
  body: Uint8Array;
  bodyTruncated: boolean;
  url: string;
  redirects: number;
  peer: string;
  timings: { resolveUs: number; connectUs: number; tlsUs: number; processingUs: number; transferUs: number };
  /** All phases together. */
  seconds: number;
  header(name: string): string | undefined;
  text(): string;
}
/** Sends a request. Throws `HttpError` when there is no answer. */
export function request(method: string, url: string, options?: RequestOptions): Response;
export class HttpError extends Error {
  readonly code: string;
  readonly phase: "prepare" | "resolve" | "connect" | "tls" | "processing" | "transfer";
  readonly reason: string;
  readonly afterSending: boolean;
}

export function budgetMs(attempt: Attempt): number;
export function randomId(): string;
export function utf8(text: string): Uint8Array;
export function textOf(bytes: Uint8Array): string;

// ---- The three kinds ----

interface Definition<S extends Shape> {
  name: string;
  version: string;
  summary: string;
  settings: S;
}
export interface Plugin {
  describe(): { name: string; version: string; summary: string; settingsSchema: string };
}
export function definePulse<S extends Shape>(
  definition: Definition<S> & { run(job: Job<S>): Report },
): { plugin: Plugin; pulse: { run(job: unknown): Report } };
export function defineIntervention<S extends Shape>(
  definition: Definition<S> & { run(job: InterventionJob<S>): { summary: string; measurements?: Measurement[] } },
): { plugin: Plugin; intervention: { run(job: unknown): unknown } };
export function defineCode<S extends Shape>(
  definition: Definition<S> & { notify(job: CodeJob<S>): { summary: string; id?: string | null } },
): { plugin: Plugin; code: { notify(job: unknown): unknown } };
