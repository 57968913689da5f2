"""A Thunderbird with a profile of its own, for the programs of this folder.

With THUNDERBIRD_IMAP_LOG=FILE it writes down its dialogue with the relay there.
"""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

from marionette import Marionette

# It asks nobody on the Internet, and no person.
QUIET = {
    "mail.spam.version": 1,
    "mail.rights.version": 1,
    "mail.provider.suppress_dialog_on_startup": True,
    "mailnews.start_page.enabled": False,
    "mail.startup.enabledMailCheckOnce": True,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.healthreport.uploadEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.update.enabled": False,
    "app.donation.eoy.version.viewed": 999,
    "app.normandy.enabled": False,
    "extensions.update.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,none",
    "security.OCSP.enabled": 0,
    # A machine with loopback alone is online enough.
    "network.manage-offline-status": False,
    "offline.autoDetect": False,
    "offline.startup_state": 3,
    "mail.instrumentation.postUrl": "",
    "toolkit.startup.max_resumed_crashes": -1,
}

# What every script below may use: folders by their path, and waiting until something is so.
COMMON = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.accounts.map(a => a.incomingServer).find(s => s.type == "imap");
const root = server.rootFolder;
const folder = path => path.split("/").reduce((f, n) => f && f.getChildNamed(n), root);
const sleep = ms => new Promise(r => { const t = Components.classes["@mozilla.org/timer;1"]
    .createInstance(Components.interfaces.nsITimer); t.initWithCallback(r, ms, 0); sleep.t = t; });
const until = async (what, test) => {
    for (let i = 0; i < 300; i++) { const got = await test(); if (got) return got; await sleep(200); }
    throw new Error("never: " + what);
};
const heard = start => new Promise((resolve, reject) => start({
    QueryInterface: ChromeUtils.generateQI(["nsIUrlListener", "nsIMsgCopyServiceListener"]),
    OnStartRunningUrl() {}, OnStopRunningUrl(url, status) {
        status ? reject(new Error("status " + status.toString(16))) : resolve(); },
    onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return null; },
    onStopCopy(status) { status ? reject(new Error("copy " + status.toString(16))) : resolve(); },
}));
const window3 = () => Services.wm.getMostRecentWindow("mail:3pane").msgWindow;
// While it is busy with the folder already, it may never call a second listener.
const update = f => Promise.race([sleep(3000), heard(l => f
    .QueryInterface(Components.interfaces.nsIMsgImapMailFolder)
    .updateFolderWithListener(window3(), l))]);
const messages = f => [...f.messages];
const read = header => new Promise((resolve, reject) => {
    const uri = header.folder.getUriForMsg(header);
    let all = "";
    MailServices.messageServiceFromURI(uri).streamMessage(uri, {
        QueryInterface: ChromeUtils.generateQI(["nsIStreamListener", "nsIRequestObserver"]),
        onStartRequest() {},
        onDataAvailable(request, stream, offset, count) {
            const s = Components.classes["@mozilla.org/scriptableinputstream;1"]
                .createInstance(Components.interfaces.nsIScriptableInputStream);
            s.init(stream); all += s.readBytes(count); },
        onStopRequest(request, status) { status ? reject(new Error("" + status)) : resolve(all); },
    }, window3(), null, false, "", false);
});
const bySubject = (f, s) => messages(f).find(m => m.mime2DecodedSubject == s);
"""


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def trust(bird):
    """Online, and the relay's certificates are under an authority that it knows."""
    with open(os.environ["RELAY_CA"]) as file:
        pem = re.search("-----BEGIN CERTIFICATE-----(.*?)-----END", file.read(), re.S).group(1)
    bird.run(
        """
        Services.io.manageOfflineStatus = false;
        Services.io.offline = false;
        Components.classes["@mozilla.org/security/x509certdb;1"]
            .getService(Components.interfaces.nsIX509CertDB).addCertFromBase64(args[0], "CT,C,C");
        """,
        "".join(pem.split()),
    )


@contextlib.contextmanager
def running(prefs):
    """The program with these preferences; what it said is printed when something fails."""
    work = tempfile.mkdtemp(prefix="thunderbird-")
    port = free_port()
    with open(os.path.join(work, "user.js"), "w") as file:
        for name, value in (QUIET | {"marionette.port": port} | prefs).items():
            text = f'"{value}"' if isinstance(value, str) else str(value).lower()
            file.write(f'user_pref("{name}", {text});\n')
    log = open(os.path.join(work, "log.txt"), "w+")
    environment = dict(os.environ, HOME=work, MOZ_CRASHREPORTER_DISABLE="1", MOZ_HEADLESS="1")
    if os.environ.get("THUNDERBIRD_IMAP_LOG"):
        environment.update(MOZ_LOG="IMAP:5,timestamp,sync", MOZ_LOG_FILE=os.environ["THUNDERBIRD_IMAP_LOG"])
    program = subprocess.Popen(
        ["thunderbird", "--headless", "--no-remote", "--marionette", "--remote-allow-system-access",
         "--profile", work],
        stdout=log, stderr=log, env=environment, start_new_session=True,
    )
    try:
        yield Marionette(port)
    except BaseException:
        log.flush()
        log.seek(0)
        print(log.read()[-8_000:], file=sys.stderr)
        raise
    finally:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()
        shutil.rmtree(work, ignore_errors=True)
