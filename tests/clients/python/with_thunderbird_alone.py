"""Thunderbird sets an account up by itself: somebody types name, address and password into its own
set-up, and nothing else. Then they read a letter and send one.

Names lead to this machine by preferences, and port 443 to the relay's; the rest it finds out.
"""
import imaplib
import os
import ssl
import time

import letters
import thunderbird
from thunderbird import COMMON

USER, PASSWORD = os.environ["RELAY_USER"], os.environ["RELAY_PASSWORD"]
COLLEAGUE = os.environ["RELAY_COLLEAGUE"]
DOMAIN = USER.split("@")[1]
IMAPS, SUBMISSIONS = int(os.environ["RELAY_IMAPS"]), int(os.environ["RELAY_SUBMISSIONS"])

PREFERENCES = {
    "network.dns.localDomains": ",".join([DOMAIN, f"autoconfig.{DOMAIN}", f"autodiscover.{DOMAIN}"]),
    "network.socket.forcePort": f"443={os.environ['RELAY_HTTPS']}",
    # No database of providers and no MX service: both are on the Internet.
    "mailnews.auto_config_url": "",
    "mailnews.mx_service_url": "",
    "signon.rememberSignons": True,
}

# The steps of the set-up, as somebody sees them.
HUB = """
const window = await until("the mail window", () => Services.wm.getMostRecentWindow("mail:3pane"));
const document = window.document;
// The hub is a component with a tree of its own.
const hub = () => {
    const container = document.querySelector("account-hub-container");
    return container && container.shadowRoot && container.shadowRoot.querySelector("account-hub-email");
};
const seen = id => { const e = hub() && hub().querySelector("#" + id); return e && !e.hidden && e; };
const type = (input, text) => { input.value = text; input.dispatchEvent(new window.Event("input", { bubbles: true })); };
const onward = async () => {
    const button = () => hub().querySelector("account-hub-footer #forward");
    await until("the button", () => button() && !button().disabled && !button().hidden);
    button().click();
};
const notice = () => [...hub().querySelectorAll(".account-hub-step, account-hub-header, [slot]")].map(e => e.textContent.trim()).join(" ").replace(/\\s+/g, " ").slice(0, 500);
"""


def step(text):
    print(f"{time.monotonic() - BEGAN:6.1f} s  {text}", flush=True)


def imap(user):
    context = ssl.create_default_context(cafile=os.environ["RELAY_CA"])
    box = imaplib.IMAP4_SSL("127.0.0.1", IMAPS, ssl_context=context)
    box.login(user, PASSWORD)
    return box


def go(bird):
    common = COMMON[COMMON.index("const sleep"):]
    box = imap(USER)
    box.append("INBOX", None, None, letters.letter(1))
    box.logout()

    step("somebody types name and address")
    bird.run(
        """const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");"""
        + common + HUB
        + """
        if (MailServices.accounts.accounts.some(a => a.incomingServer && a.incomingServer.type != "none"))
            throw new Error("there is an account already");
        window.openAccountHub("MAIL");
        await until("the form", () => hub() && hub().querySelector("#email"));
        type(hub().querySelector("#realName"), "Claire FONTAINE");
        type(hub().querySelector("#email"), args[0]);
        await onward();
        """,
        USER,
    )
    step("it finds the doors")
    found = bird.run(
        "const { MailServices } = ChromeUtils.importESModule('resource:///modules/MailServices.sys.mjs');"
        + common + HUB
        + """
        const view = await until("the doors that it found", () => seen("emailConfigFoundSubview"))
            .catch(error => { throw new Error(error.message + ": " + notice()); });
        const text = view.textContent.replace(/\\s+/g, " ");
        await onward();
        return text;
        """
    )
    assert DOMAIN in found, found
    step("somebody types the password")
    bird.run(
        "const { MailServices } = ChromeUtils.importESModule('resource:///modules/MailServices.sys.mjs');"
        + common + HUB
        + """
        await until("the password", () => seen("emailPasswordSubview") && hub().querySelector("#password"));
        type(hub().querySelector("#password"), args[0]);
        await onward();
        await until("the account", () => MailServices.accounts.accounts.some(
            a => a.incomingServer && a.incomingServer.type == "imap"))
            .catch(error => { throw new Error(error.message + ": " + notice()); });
        """,
        PASSWORD,
    )
    set_up = bird.run(
        COMMON + """
        const out = MailServices.outgoingServer.defaultServer;
        return { host: server.hostName || server.hostname || server.serverURI.displayHost, port: server.port, socket: server.socketType, auth: server.authMethod,
            user: server.username, out: out.serverURI.displayHost || out.serverURI.host,
            outPort: out.serverURI.port, outSocket: out.socketType, outAuth: out.authMethod };
        """
    )
    # 3: TLS from the first byte; password in clear, below TLS.
    wanted = {"host": DOMAIN, "port": IMAPS, "socket": 3, "auth": 3, "user": USER,
              "out": DOMAIN, "outPort": SUBMISSIONS, "outSocket": 3, "outAuth": 3}
    assert set_up == wanted, set_up

    step("reads")
    text = bird.run(
        COMMON + """
        root.getFolderWithFlags(0x1000).getNewMessages(window3(), null);
        const f = root.getFolderWithFlags(0x1000);
        await until("the letter", async () => { await update(f); return bySubject(f, "Lettre 1 pour Éloïse"); });
        return await read(bySubject(f, "Lettre 1 pour Éloïse"));
        """
    )
    assert "va bien" in text, text

    step("sends")
    bird.run(
        COMMON + """
        const fields = Components.classes["@mozilla.org/messengercompose/composefields;1"]
            .createInstance(Components.interfaces.nsIMsgCompFields);
        const identity = MailServices.accounts.defaultAccount.defaultIdentity;
        Object.assign(fields, { from: identity.email, to: args[0], subject: "Premier courrier",
            body: "Bonjour.\\r\\n" });
        const parameters = Components.classes["@mozilla.org/messengercompose/composeparams;1"]
            .createInstance(Components.interfaces.nsIMsgComposeParams);
        parameters.composeFields = fields;
        parameters.format = Components.interfaces.nsIMsgCompFormat.PlainText;
        parameters.identity = identity;
        const compose = MailServices.compose.initCompose(parameters, null, null);
        compose.initialize(parameters);
        const progress = Components.classes["@mozilla.org/messenger/progress;1"]
            .createInstance(Components.interfaces.nsIMsgProgress);
        await compose.sendMsg(Components.interfaces.nsIMsgSend.nsMsgDeliverNow, identity, "", null, progress);
        """,
        COLLEAGUE,
    )
    for _ in range(100):
        box = imap(COLLEAGUE)
        box.select("INBOX", readonly=True)
        arrived = box.search(None, "SUBJECT", '"Premier courrier"')[1][0].split()
        box.logout()
        if arrived:
            return
        time.sleep(0.2)
    raise AssertionError("the colleague never got the letter")


BEGAN = time.monotonic()
with thunderbird.running(PREFERENCES) as bird:
    step("starts")
    thunderbird.trust(bird)
    go(bird)
print("all passed")
