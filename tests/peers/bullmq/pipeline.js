// A pipeline as it is written with BullMQ: a job an event; its handler reads the current row, changes it, writes it
// back, appends to a history and counts conversions. No order but that of arrival, no trail, no repair.
// Prints the seconds from the first job to the last one done, and how many leads ended at another stage than they
// should: as the first run in order, one at a time, left them in the file given.
"use strict";
const fs = require("fs");
const { Queue, Worker } = require("bullmq");
const IORedis = require("ioredis");

const [port, file, concurrency, expected] = process.argv.slice(2);
const connection = { host: "127.0.0.1", port: Number(port), maxRetriesPerRequest: null };
const events = fs.readFileSync(file, "utf8").trimEnd().split("\n");

async function handle(redis, event) {
  const key = `${event.tenant}:${event.partitionkey}`;
  const data = event.data ?? {};
  const lead = JSON.parse((await redis.get(`lead:${key}`)) ?? "{}");
  lead.events = (lead.events ?? 0) + 1;
  lead.createdAt ??= event.time;
  lead.updatedAt = event.time;
  if (data.amountRequested !== undefined) lead.amount = data.amountRequested;
  if (data.resource !== undefined) lead.assignee = data.resource;
  if (event.type.startsWith("A_")) lead.stage = event.type;
  await redis.set(`lead:${key}`, JSON.stringify(lead));
  if (data.workItem !== undefined) {
    const name = `appointment:${key}:${data.workItem}`;
    const appointment = JSON.parse((await redis.get(name)) ?? "{}");
    const before = appointment.status;
    appointment.status = event.type.split(".").pop();
    appointment.assignee = data.resource ?? appointment.assignee;
    await redis.set(name, JSON.stringify(appointment));
    if (before !== appointment.status) {
      await redis.rpush(`history:${key}:${data.workItem}`, JSON.stringify({ at: event.time, status: appointment.status }));
    }
  }
  if (/^(A_SUBMITTED|O_SENT|A_ACTIVATED)|^W_.*\.COMPLETE$/.test(event.type)) {
    await redis.hincrby(`conversions:${key}`, event.type, 1);
  }
}

async function stages(redis) {
  const found = {};
  const keys = await redis.keys("lead:*");
  for (let at = 0; at < keys.length; at += 1000) {
    const some = keys.slice(at, at + 1000);
    (await redis.mget(some)).forEach((text, n) => { found[some[n]] = JSON.parse(text).stage ?? null; });
  }
  return found;
}

async function main() {
  const redis = new IORedis(connection);
  await redis.flushall();
  const queue = new Queue("events", { connection, defaultJobOptions: { removeOnComplete: true } });
  let done = 0;
  let finish;
  const finished = new Promise((resolve) => { finish = resolve; });
  const start = process.hrtime.bigint();
  const worker = new Worker("events", async (job) => { await handle(redis, job.data); }, { connection, concurrency: Number(concurrency) });
  worker.on("completed", () => { done += 1; if (done === events.length) finish(); });
  worker.on("failed", (_job, error) => { console.error(error); process.exit(1); });
  for (let at = 0; at < events.length; at += 500) {
    const jobs = events.slice(at, at + 500).map((line) => ({ name: "event", data: JSON.parse(line) }));
    await queue.addBulk(jobs);
  }
  await finished;
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  const found = await stages(redis);
  let wrong = 0;
  if (expected && !fs.existsSync(expected)) fs.writeFileSync(expected, JSON.stringify(found));
  if (expected) {
    const right = JSON.parse(fs.readFileSync(expected, "utf8"));
    wrong = Object.keys(right).filter((key) => right[key] !== found[key]).length;
  }
  console.log(seconds.toFixed(3), wrong);
  await worker.close();
  await queue.close();
  redis.disconnect();
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
