// files: fs/promises reads whole files: node files.mjs FOLDER FILES SIZE OPERATIONS AT_ONCE
//
// The files are FOLDER/0, FOLDER/1, …; byte i of file n is (n + i) % 251. Each operation opens one, reads it to its end and
// closes it; so many run at once. Half of the operations more run first, unmeasured. Every file is compared.
// Prints wall seconds of all operations.
import { readFile } from "node:fs/promises";
import { join } from "node:path";

const PERIOD = 251;
const [folder, ...numbers] = process.argv.slice(2);
const [files, size, operations, atOnce] = numbers.map(Number);
const pattern = Buffer.from(Array.from({ length: size + PERIOD }, (_, index) => index % PERIOD));

async function readAll(count) {
  let next = 0;
  const reader = async () => {
    while (next < count) {
      const number = next++ % files;
      const data = await readFile(join(folder, String(number)));
      const start = number % PERIOD;
      if (!data.equals(pattern.subarray(start, start + size))) throw new Error(`file ${number} came back changed`);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, reader));
}

await readAll(operations >> 1);
const began = performance.now();
await readAll(operations);
console.log((performance.now() - began) / 1e3);
