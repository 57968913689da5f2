"""Thunderbird opens a letter that the relay sealed to the key of its reader, and shows the subject
that was under the seal.
"""
import os

import thunderbird
import with_thunderbird_account as account
from thunderbird import COMMON

SUBJECT, TEXT = os.environ["RELAY_SUBJECT"], os.environ["RELAY_TEXT"]

with thunderbird.running(account.profile()) as bird:
    account.set_up(bird)
    with open(os.environ["RELAY_SECRET"]) as file:
        secret = file.read()
    bird.run(
        COMMON
        + """
        await until("the mail window", () => Services.wm.getMostRecentWindow("mail:3pane"));
        const { EnigmailCore } = ChromeUtils.importESModule("chrome://openpgp/content/modules/core.sys.mjs");
        await EnigmailCore.init();
        const { RNP } = ChromeUtils.importESModule("chrome://openpgp/content/modules/RNP.sys.mjs");
        const taken = await RNP.importSecKeyBlockImpl(null, () => {}, false, args[0]);
        if (taken.exitCode != 0) throw new Error("the key is not taken: " + JSON.stringify(taken));
        """,
        secret,
    )
    shown = bird.run(
        COMMON
        + """
        const inbox = root.getFolderWithFlags(0x1000) || await until("the inbox", () => {
            try { root.performExpand(window3()); } catch (e) {}
            return root.getFolderWithFlags(0x1000); });
        inbox.getNewMessages(window3(), null);
        await until("the letter", async () => { await update(inbox); return messages(inbox).length == 1; });
        const before = messages(inbox)[0].mime2DecodedSubject;
        const three = await until("three panes", () =>
            Services.wm.getMostRecentWindow("mail:3pane").document.getElementById("tabmail")?.currentAbout3Pane);
        three.displayFolder(inbox.URI);
        await until("the list", () => three.gDBView && three.gDBView.rowCount == 1);
        three.threadTree.selectedIndex = 0;
        const text = await until("the text", () => {
            const message = Services.wm.getMostRecentWindow("mail:3pane").document
                .getElementById("tabmail").currentAboutMessage;
            const page = message?.getMessagePaneBrowser()?.contentDocument;
            const all = page?.body?.textContent || "";
            return all.includes(args[0]) && [all,
                message.document.getElementById("expandedsubjectBox").textContent];
        });
        return [before, ...text];
        """,
        TEXT,
    )
    before, text, subject = shown
    assert before == "[...]", shown
    assert SUBJECT in subject, shown
    assert TEXT in text, shown
print("all passed")
