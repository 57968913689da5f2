// Passkeys: asks the browser for one, and sends what it answers with the form around the button.
// All that this site runs. Without it, the pages say what to use instead.
"use strict";

(() => {
  const octets = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const named = (list) => (list || []).map((one) => ({ ...one, id: octets(one.id) }));

  const make = async (options) => {
    const publicKey = {
      ...options,
      challenge: octets(options.challenge),
      user: { ...options.user, id: octets(options.user.id) },
      excludeCredentials: named(options.excludeCredentials),
    };
    const made = await navigator.credentials.create({ publicKey });
    return {
      id: made.id,
      rawId: text(made.rawId),
      type: made.type,
      response: {
        attestationObject: text(made.response.attestationObject),
        clientDataJSON: text(made.response.clientDataJSON),
      },
    };
  };

  const show = async (options) => {
    const publicKey = {
      ...options,
      challenge: octets(options.challenge),
      allowCredentials: named(options.allowCredentials),
    };
    const shown = await navigator.credentials.get({ publicKey });
    const { authenticatorData, clientDataJSON, signature, userHandle } = shown.response;
    return {
      id: shown.id,
      rawId: text(shown.rawId),
      type: shown.type,
      response: {
        authenticatorData: text(authenticatorData),
        clientDataJSON: text(clientDataJSON),
        signature: text(signature),
        userHandle: userHandle ? text(userHandle) : null,
      },
    };
  };

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    const said = form.querySelector("[role=status]");
    const button = form.querySelector("button");
    if (!window.PublicKeyCredential) {
      said.textContent = said.dataset.absent;
      continue;
    }
    said.textContent = "";
    button.disabled = false;
    if (button.dataset.focus) button.focus();
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      said.textContent = "";
      button.disabled = true;
      try {
        const { publicKey } = JSON.parse(form.dataset.options);
        const answer = await (form.dataset.passkey === "make" ? make : show)(publicKey);
        form.querySelector("[name=answer]").value = JSON.stringify(answer);
        form.submit();
      } catch (error) {
        const is_known = error.name === "InvalidStateError" && said.dataset.known;
        said.textContent = is_known ? said.dataset.known : said.dataset.failed;
        button.disabled = false;
        button.focus();
      }
    });
  }
})();
