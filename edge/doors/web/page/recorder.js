/** Runs beside the page, where audio arrives, and hands it over in blocks of some 40 ms. */

const BLOCK_SAMPLES = 2048;

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(BLOCK_SAMPLES);
    this.filled = 0;
  }

  process([[samples]]) {
    if (!samples) return true;
    let from = 0;
    while (from < samples.length) {
      const part = samples.subarray(from, from + BLOCK_SAMPLES - this.filled);
      this.block.set(part, this.filled);
      this.filled += part.length;
      from += part.length;
      if (this.filled === BLOCK_SAMPLES) this.#hand();
    }
    return true;
  }

  #hand() {
    this.port.postMessage(this.block.buffer, [this.block.buffer]);
    this.block = new Float32Array(BLOCK_SAMPLES);
    this.filled = 0;
  }
}

registerProcessor("recorder", Recorder);
