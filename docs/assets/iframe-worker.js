// Search runs in a worker, and browsers start none from file://. There, a hidden frame stands in
// for it: the same script, the same messages.
"use strict";

if (location.protocol === "file:") {
  window.Worker = class FrameWorker extends EventTarget {
    constructor(url) {
      super();
      this.onmessage = null;
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc = `<script>
        var importScripts = (...urls) => Promise.all(urls.map((url) => new Promise((done, failed) => {
          const script = document.createElement("script");
          Object.assign(script, { src: url, onload: done, onerror: failed });
          document.body.append(script);
        })));
        var postMessage = (data) => parent.dispatchEvent(
          new CustomEvent("frame-message", { detail: { frame: window, data } }));
      </` + `script><body><script src="${url}"></` + `script>`;
      window.addEventListener("frame-message", ({ detail }) => {
        if (detail.frame === frame.contentWindow) this.receive(detail.data);
      });
      frame.addEventListener("load", () => {
        const messages = this.waiting;
        this.waiting = null;
        messages.forEach((data) => this.postMessage(data));
      });
      document.body.append(frame);
      this.frame = frame;
    }

    receive(data) {
      const event = new MessageEvent("message", { data });
      this.dispatchEvent(event);
      if (this.onmessage) this.onmessage(event);
    }

    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
