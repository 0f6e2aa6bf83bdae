// SPDX-License-Identifier: Apache-2.0
//
// croner, cron-parser or (for rules) rrule, asked as next_bulk is: `node peer.mjs croner FOLDER` reads lines of expression, zone,
// seconds and count from standard input and answers each with due times, or "refused". With a third argument,
// milliseconds, it measures instead: walks on from each line's moment for so long and prints due times a second.
// FOLDER holds node_modules.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { resolve } from "node:path";

const [which, folder, millis] = process.argv.slice(2);
const load = createRequire(resolve(folder, "package.json"));

const walkers = {
  croner() {
    const { Cron } = load("croner");
    return (expression, zone, from) => {
      const job = new Cron(expression, { timezone: zone, paused: true });
      let at = new Date(from * 1000);
      return () => {
        const next = job.nextRun(at);
        if (next) at = next;
        return next && next.getTime() / 1000;
      };
    };
  },
  "cron-parser"() {
    const { CronExpressionParser } = load("cron-parser");
    return (expression, zone, from) => {
      const job = CronExpressionParser.parse(expression, { tz: zone, currentDate: new Date(from * 1000) });
      return () => job.next().getTime() / 1000;
    };
  },
};
// rrule has no zones of its own: the wall clock of the zone, whose offset is the same all the time, written as UTC.
walkers.rrule = () => {
  const { RRule } = load("rrule");
  return (expression, zone, from, start) => {
    const rule = new RRule({ ...RRule.parseString(expression), dtstart: new Date(start) });
    let at = new Date(from * 1000);
    return () => {
      const next = rule.after(at);
      if (next) at = next;
      return next && next.getTime() / 1000;
    };
  };
};
const walker = walkers[which]();

function answer(expression, zone, from, count, start) {
  const found = [];
  try {
    const next = walker(expression, zone, Number(from), start);
    while (found.length < Number(count)) {
      const at = next();
      if (at === null) break;
      found.push(at);
    }
  } catch (error) {
    return found.length ? found.join(" ") + " refused" : "refused " + String(error.message).split("\n")[0];
  }
  return found.join(" ");
}

function measure(expression, zone, from, begin) {
  let next = walker(expression, zone, Number(from), begin);
  const start = spent();
  let count = 0;
  while (spent() < start + Number(millis) * 1000) {
    for (let i = 0; i < 8; i++, count++) {
      if (next() === null) next = walker(expression, zone, Number(from), begin);
    }
  }
  return String((count * 1e6) / (spent() - start));
}

// Microseconds of this process: who else is on the machine does not matter.
function spent() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

for await (const line of createInterface({ input: process.stdin })) {
  const [expression, zone, from, count, begin] = line.split("\t");
  process.stdout.write((millis ? measure(expression, zone, from, begin) : answer(expression, zone, from, count, begin)) + "\n");
}
