/** This browser's microphone, as blocks of samples. */

/** Return why there is no microphone for a page, or nothing. */
export function whyNoMicrophone() {
  if (!window.isSecureContext) {
    return "A browser gives its microphone only to pages over https, or at 127.0.0.1: open the dashboard there.";
  }
  return navigator.mediaDevices?.getUserMedia ? "" : "This browser has no microphone for web pages.";
}

export class Microphone {
  /** Begin to listen; raises an Error that says what to do. */
  static async open() {
    let media;
    try {
      // As it is: what makes speech clear for a call takes from it how it sounds.
      const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      media = await navigator.mediaDevices.getUserMedia({ audio });
    } catch (error) {
      throw new Error(
        error.name === "NotAllowedError"
          ? "The browser was not allowed to use the microphone: allow it in the address bar, and try again."
          : `The browser has no microphone that works: ${error.message}`,
      );
    }
    const context = new AudioContext();
    await context.audioWorklet.addModule("/page/recorder.js");
    return new Microphone(media, context);
  }

  constructor(media, context) {
    Object.assign(this, { media, context });
    this.rate_hz = context.sampleRate;
  }

  /** Call `heard` with each block, an ArrayBuffer of float32. */
  listen(heard) {
    const recorder = new AudioWorkletNode(this.context, "recorder", { numberOfOutputs: 0 });
    recorder.port.onmessage = ({ data }) => heard(data);
    this.context.createMediaStreamSource(this.media).connect(recorder);
  }

  close() {
    for (const track of this.media.getTracks()) track.stop();
    if (this.context.state !== "closed") this.context.close();
  }
}
