"""One account of the relay in Thunderbird."""
import os

import thunderbird

PORT = int(os.environ["RELAY_IMAPS"])
USER, PASSWORD = os.environ["RELAY_USER"], os.environ["RELAY_PASSWORD"]


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
        "mail.server.server1.type": "imap",
        "mail.server.server1.hostname": "127.0.0.1",
        "mail.server.server1.port": PORT,
        "mail.server.server1.socketType": 3,
        "mail.server.server1.authMethod": 3,
        "mail.server.server1.userName": USER,
        "mail.server.server1.name": USER,
        "mail.server.server1.login_at_startup": False,
        "mail.server.server1.check_new_mail": False,
        "mail.server.server2.type": "none",
        "mail.server.server2.hostname": "Local Folders",
        "mail.server.server2.userName": "nobody",
    }


def set_up(bird):
    thunderbird.trust(bird)
    bird.run(
        """
        const [user, password] = args;
        const login = Components.classes["@mozilla.org/login-manager/loginInfo;1"]
            .createInstance(Components.interfaces.nsILoginInfo);
        login.init("imap://127.0.0.1", null, "imap://127.0.0.1", user, password, "", "");
        await Services.logins.addLoginAsync(login);
        """,
        USER, PASSWORD,
    )
