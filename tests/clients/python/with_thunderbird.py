"""Thunderbird, driven by Marionette: what its users do, checked from the relay's side by imaplib.
"""
import imaplib
import os
import ssl
import time

import letters
import thunderbird
from thunderbird import COMMON

PORT = int(os.environ["RELAY_IMAPS"])
SUBMISSIONS = int(os.environ["RELAY_SUBMISSIONS"])
USER, PASSWORD = os.environ["RELAY_USER"], os.environ["RELAY_PASSWORD"]
COLLEAGUE = os.environ["RELAY_COLLEAGUE"]
PATIENCE = 60

def step(text):
    print(f"{time.monotonic() - BEGAN:6.1f} s  {text}", flush=True)


def imap():
    context = ssl.create_default_context(cafile=os.environ["RELAY_CA"])
    box = imaplib.IMAP4_SSL("127.0.0.1", PORT, ssl_context=context)
    box.login(USER, PASSWORD)
    return box


def until(what, test):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        got = test()
        if got:
            return got
        time.sleep(0.2)
    raise AssertionError(f"never: {what}")


def far(folder, *keys):
    """How many messages of a folder the relay finds."""
    box = imap()
    if box.select(f'"{folder}"', readonly=True)[0] != "OK":
        return 0
    found = box.search(None, *keys)[1][0].split()
    box.logout()
    return len(found)


def profile():
    return {
        "mail.accountmanager.accounts": "account1,account2",
        "mail.accountmanager.defaultaccount": "account1",
        "mail.accountmanager.localfoldersserver": "server2",
        "mail.account.account1.identities": "id1",
        "mail.account.account1.server": "server1",
        "mail.account.account2.server": "server2",
        "mail.identity.id1.fullName": "Test",
        "mail.identity.id1.useremail": USER,
        "mail.identity.id1.valid": True,
        "mail.identity.id1.smtpServer": "smtp1",
        "mail.identity.id1.compose_html": False,
        "mail.server.server1.type": "imap",
        "mail.server.server1.hostname": "127.0.0.1",
        "mail.server.server1.port": PORT,
        "mail.server.server1.socketType": 3,
        "mail.server.server1.authMethod": 3,
        "mail.server.server1.userName": USER,
        "mail.server.server1.name": USER,
        "mail.server.server1.login_at_startup": False,
        "mail.server.server1.check_new_mail": False,
        "mail.server.server1.use_idle": True,
        "mail.server.server2.type": "none",
        "mail.server.server2.hostname": "Local Folders",
        "mail.server.server2.userName": "nobody",
        "mail.smtpservers": "smtp1",
        "mail.smtp.defaultserver": "smtp1",
        "mail.smtpserver.smtp1.hostname": "127.0.0.1",
        "mail.smtpserver.smtp1.port": SUBMISSIONS,
        "mail.smtpserver.smtp1.try_ssl": 3,
        "mail.smtpserver.smtp1.authMethod": 3,
        "mail.smtpserver.smtp1.username": USER,
    }


def set_up(bird):
    thunderbird.trust(bird)
    bird.run(
        """
        const [user, password] = args;
        for (const scheme of ["imap", "smtp"]) {
            const login = Components.classes["@mozilla.org/login-manager/loginInfo;1"]
                .createInstance(Components.interfaces.nsILoginInfo);
            const origin = `${scheme}://127.0.0.1`;
            login.init(origin, null, origin, user, password, "", "");
            await Services.logins.addLoginAsync(login);
        }
        """,
        USER, PASSWORD,
    )


def go(bird):
    box = imap()
    for number in range(1, 6):
        box.append("INBOX", None, None, letters.letter(number))
    box.create('"Dossiers/&AMk-t&AOk-"')
    box.subscribe('"Dossiers/&AMk-t&AOk-"')
    box.logout()
    common = lambda script, *arguments: bird.run(COMMON + script, *arguments)

    step("logs in, lists folders, reads the headers of the inbox")
    common(
        """
        await until("the mail window", () => Services.wm.getMostRecentWindow("mail:3pane"));
        // With a window, so that it may ask for the password that it keeps.
        root.getFolderWithFlags(0x1000).getNewMessages(window3(), null);
        await until("the folder with an accent", () => folder("Dossiers/Été")).catch(error => {
            throw new Error(error.message + " among " + root.descendants.map(f => f.URI).join(" ")); });
        """
    )
    common('const f = root.getFolderWithFlags(0x1000); await until("five", async () => { await update(f); return messages(f).length >= 5; });')
    subjects = common("return messages(root.getFolderWithFlags(0x1000)).map(m => m.mime2DecodedSubject).sort();")
    assert "Lettre 3 pour Éloïse" in subjects, subjects
    for name, flag in {"Sent": 0x200, "Drafts": 0x400, "Trash": 0x100, "Junk": 0x40000000}.items():
        found = common("const f = root.getFolderWithFlags(args[0]); return f && f.name;", flag)
        assert found and found.lower() in (name.lower(), "spam"), f"{name} by SPECIAL-USE: {found}"

    step("reads a letter; it is read on the relay")
    text = common(
        """
        const f = root.getFolderWithFlags(0x1000);
        const header = bySubject(f, "Lettre 3 pour Éloïse");
        const text = await read(header);
        f.markMessagesRead([header], true);
        return text;
        """
    )
    assert "va bien" in text and "<3@client.test>" in text, text
    until("\\Seen", lambda: far("INBOX", "SEEN", "HEADER", "Message-ID", "3@client.test") == 1)

    step("stars, tags; the relay has flag and keyword, and a tag set elsewhere comes back")
    common(
        """
        const f = root.getFolderWithFlags(0x1000);
        f.markMessagesFlagged([bySubject(f, "Lettre 2 pour Éloïse")], true);
        f.addKeywordsToMessages([bySubject(f, "Lettre 2 pour Éloïse")], "$label1");
        MailServices.tags.addTagForKey("claire_repond", "Claire répond", "#008800", "");
        f.addKeywordsToMessages([bySubject(f, "Lettre 3 pour Éloïse")], "claire_repond");
        """
    )
    until("\\Flagged", lambda: far("INBOX", "FLAGGED", "KEYWORD", "$label1") == 1)
    until("the tag", lambda: far("INBOX", "KEYWORD", "claire_repond") == 1)
    box = imap()
    box.select("INBOX")
    fourth = box.search(None, "HEADER", "Message-ID", "4@client.test")[1][0].decode()
    box.store(fourth, "+FLAGS", "($label3 \\Answered)")
    box.logout()
    common(
        """
        const f = root.getFolderWithFlags(0x1000);
        await until("the tag of another client", async () => {
            await update(f);
            const m = bySubject(f, "Lettre 4 pour Éloïse");
            return m.getStringProperty("keywords").includes("$label3") && (m.flags & 2);
        });
        """
    )

    step("moves a letter into a folder with an accent, copies another")
    common(
        """
        const f = root.getFolderWithFlags(0x1000);
        for (const [subject, isMove] of [["Lettre 5 pour Éloïse", true], ["Lettre 1 pour Éloïse", false]]) {
            MailServices.copy.copyMessages(f, [bySubject(f, subject)], folder("Dossiers/Été"), isMove,
                null, window3(), false);
        }
        """
    )
    until("the move", lambda: far("Dossiers/&AMk-t&AOk-", "ALL") == 2)
    common('const f = folder("Dossiers/Été"); await until("both", async () => { await update(f); return messages(f).length == 2; });')
    until("the rest", lambda: far("INBOX", "NOT", "DELETED", "HEADER", "Message-ID", "5@client.test") == 0)

    step("searches on the server: in subjects, in texts")
    for attribute, word, expected in ((0, "Lettre 2", 1), (2, "va bien", 4)):
        found = common(
            """
            const f = root.getFolderWithFlags(0x1000);
            const session = Components.classes["@mozilla.org/messenger/searchSession;1"]
                .createInstance(Components.interfaces.nsIMsgSearchSession);
            session.addScopeTerm(Components.interfaces.nsMsgSearchScope.onlineMail, f);
            const term = session.createTerm();
            term.attrib = args[0];
            term.op = Components.interfaces.nsMsgSearchOp.Contains;
            const value = term.value; value.attrib = args[0]; value.str = args[1]; term.value = value;
            session.appendTerm(term);
            return await new Promise(resolve => {
                const hits = [];
                session.registerListener({ onSearchHit(h) { hits.push(h.mime2DecodedSubject); },
                    onSearchDone() { resolve(hits); }, onNewSearch() {} }, -1);
                session.search(window3());
            });
            """,
            attribute, word,
        )
        assert len(found) == expected, (word, found)

    step("keeps the inbox for being offline; reads and tags there; goes online again")
    common(
        """
        const f = root.getFolderWithFlags(0x1000);
        f.setFlag(0x08000000);
        await heard(l => f.downloadAllForOffline(l, null));
        await until("offline copies", () => messages(f).every(m => m.flags & 0x80));
        Services.io.offline = true;
        const header = bySubject(f, "Lettre 1 pour Éloïse");
        if (!(await read(header)).includes("va bien")) throw new Error("cannot be read offline");
        f.addKeywordsToMessages([header], "$label5");
        f.markMessagesRead([header], true);
        Services.io.offline = false;
        """
    )
    # What was done offline is played back when a folder is opened again.
    common(
        """
        const offline = Components.classes["@mozilla.org/messenger/offline-manager;1"]
            .getService(Components.interfaces.nsIMsgOfflineManager);
        offline.goOnline(false, true, window3());
        await sleep(1000);
        await update(root.getFolderWithFlags(0x1000));
        """
    )
    until("what was done offline", lambda: far("INBOX", "SEEN", "KEYWORD", "$label5") == 1)

    step("sends; the copy is in Sent, the letter in the colleague's inbox")
    common(
        """
        const fields = Components.classes["@mozilla.org/messengercompose/composefields;1"]
            .createInstance(Components.interfaces.nsIMsgCompFields);
        const identity = MailServices.accounts.defaultAccount.defaultIdentity;
        Object.assign(fields, { from: identity.email, to: args[0], subject: "De Thunderbird à l’été",
            body: "Bonjour,\\r\\nà demain.\\r\\n" });
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
    until("the copy in Sent", lambda: far("Sent", "ALL") == 1)

    step("is told of a new letter while it waits")
    letters.send(subject="Nouvelle")
    common('const f = root.getFolderWithFlags(0x1000); await until("the new letter", () => bySubject(f, "Nouvelle"));')

    step("deletes; the letter goes to the trash")
    common(
        """
        const f = root.getFolderWithFlags(0x1000);
        f.deleteMessages([bySubject(f, "Lettre 4 pour Éloïse")], window3(), false, false, null, false);
        """
    )
    until("the trash", lambda: far("Trash", "HEADER", "Message-ID", "4@client.test") == 1)


BEGAN = time.monotonic()
with thunderbird.running(profile()) as bird:
    step("starts")
    set_up(bird)
    go(bird)
print("all passed")
