// timers: the questions about timers, as Node answers them: node timers.mjs NAME COUNT REPEATS
//
// Prints the best of the repeats, in the unit of the question of the same name in callbacks.py. CPU time is that
// of the whole process: Node 20 knows no other. Delays are whole milliseconds, the finest that Node takes.
import { setTimeout as sleep } from "node:timers/promises";

const LONG_MS = 60_000; // a timer that never comes due
const SHORT_SLEEP_MS = 1.5;

function check(holds, what) {
  if (!holds) throw new Error(what);
}

function cpuNs() {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1e3;
}

async function callLaterCancel(count) {
  let fired = 0;
  const began = cpuNs();
  for (let number = 0; number < count; number++) clearTimeout(setTimeout(() => fired++, LONG_MS, number));
  const elapsed = cpuNs() - began;
  await sleep(0);
  check(fired === 0, "a cancelled timer does not fire");
  return elapsed / count;
}

async function concurrentSleeps(count) {
  let woken = 0;
  const one = async (delay) => {
    await sleep(delay);
    woken++;
  };
  const delays = Array.from({ length: count }, () => 50 + Math.random() * 300);
  const began = cpuNs();
  await Promise.all(delays.map(one));
  check(woken === count, "every sleep ends");
  return (cpuNs() - began) / count;
}

async function lateness(count) {
  const offMs = [];
  for (let number = 0; number < Math.max(count, 11); number++) {
    const began = performance.now();
    await sleep(SHORT_SLEEP_MS);
    offMs.push(Math.abs(performance.now() - began - SHORT_SLEEP_MS)); // an early end is as wrong as a late one
  }
  offMs.sort((one, other) => one - other);
  return offMs[Math.floor(offMs.length / 2)];
}

const [name, count, repeats] = process.argv.slice(2);
const workloads = {
  call_later_cancel: callLaterCancel,
  concurrent_sleeps: concurrentSleeps,
  lateness,
};
let best = Infinity;
for (let turn = 0; turn < Number(repeats); turn++) best = Math.min(best, await workloads[name](Number(count)));
console.log(best);
