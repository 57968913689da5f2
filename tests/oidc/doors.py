"""Logs in at every door of a relay with Python's own libraries, and says how it went.

Arguments: JSON with `ca`, `ports` (imaps, pop3s, submissions, managesieve), `user`, `mechanism`
(PASSWORD, XOAUTH2, OAUTHBEARER, SCRAM-SHA-256) and `secret`. Answers JSON: by door, `in` or what
was said, and the challenge that came before a refusal.
"""
import base64, hashlib, hmac, imaplib, json, os, poplib, smtplib, socket, ssl, sys

given = json.loads(sys.argv[1])
user, secret, mechanism = given["user"], given["secret"], given["mechanism"]
tls = ssl.create_default_context(cafile=given["ca"])
tls.check_hostname = False
PATIENCE = 60


class Exchange:
    """One exchange of SASL, as the client."""

    def __init__(self):
        self.challenges = []
        self.step = 0

    def begin(self):
        if mechanism == "XOAUTH2":
            return f"user={user}\x01auth=Bearer {secret}\x01\x01".encode()
        if mechanism == "OAUTHBEARER":
            return f"n,a={user},\x01host=127.0.0.1\x01auth=Bearer {secret}\x01\x01".encode()
        if mechanism == "SCRAM-SHA-256":
            self.nonce = base64.b64encode(os.urandom(18)).decode()
            self.first = f"n={user},r={self.nonce}"
            return ("n,," + self.first).encode()
        return f"\0{user}\0{secret}".encode()

    def answer(self, challenge):
        self.challenges.append(challenge.decode())
        if mechanism in ("XOAUTH2", "OAUTHBEARER"):
            return b"\x01"
        if mechanism != "SCRAM-SHA-256":
            raise SystemExit(f"a challenge to a password: {challenge}")
        if challenge.startswith(b"v="):
            self.check(challenge)
            return b""
        return self.prove(challenge.decode())

    def prove(self, challenge):
        parts = dict(part.split("=", 1) for part in challenge.split(","))
        assert parts["r"].startswith(self.nonce) and len(parts["r"]) > len(self.nonce)
        salt, rounds = base64.b64decode(parts["s"]), int(parts["i"])
        salted = hashlib.pbkdf2_hmac("sha256", secret.encode(), salt, rounds)
        key = hmac.digest(salted, b"Client Key", "sha256")
        stored = hashlib.sha256(key).digest()
        last = f"c=biws,r={parts['r']}"
        message = ",".join((self.first, challenge, last)).encode()
        signature = hmac.digest(stored, message, "sha256")
        proof = bytes(one ^ other for one, other in zip(key, signature))
        server = hmac.digest(salted, b"Server Key", "sha256")
        self.expected = hmac.digest(server, message, "sha256")
        return f"{last},p={base64.b64encode(proof).decode()}".encode()

    def check(self, final):
        assert base64.b64decode(final[2:]) == self.expected, "the relay does not know our keys"
        self.checked = True


def told(exchange, result):
    return {"said": result, "challenges": exchange.challenges}


def imap():
    exchange = Exchange()
    client = imaplib.IMAP4_SSL("127.0.0.1", given["ports"]["imaps"], ssl_context=tls, timeout=PATIENCE)
    begun = []

    def respond(challenge):
        if not begun:
            begun.append(1)
            return exchange.begin()
        return exchange.answer(challenge)

    try:
        if mechanism == "PASSWORD":
            client.login(user, secret)
        else:
            client.authenticate(mechanism, respond)
        client.select("INBOX")
        client.logout()
    except imaplib.IMAP4.error as error:
        return told(exchange, str(error))
    return told(exchange, "in")


def pop3():
    exchange = Exchange()
    client = poplib.POP3_SSL("127.0.0.1", given["ports"]["pop3s"], timeout=PATIENCE, context=tls)
    try:
        if mechanism == "PASSWORD":
            client.user(user)
            client.pass_(secret)
        else:
            client._putcmd(f"AUTH {mechanism}")
            line = client._getline()[0]
            response = exchange.begin()
            while line.startswith(b"+ "):
                if line != b"+ " or len(exchange.challenges) > 3:
                    response = exchange.answer(base64.b64decode(line[2:]))
                client._putline(base64.b64encode(response))
                line = client._getline()[0]
            if not line.startswith(b"+OK"):
                return told(exchange, line.decode())
        client.stat()
        client.quit()
    except poplib.error_proto as error:
        return told(exchange, str(error))
    return told(exchange, "in")


def smtp():
    exchange = Exchange()
    client = smtplib.SMTP_SSL(
        "127.0.0.1", given["ports"]["submissions"], context=tls, timeout=PATIENCE
    )
    client.ehlo("software.test")

    def respond(challenge=None):
        if challenge is None:
            return exchange.begin().decode()
        return exchange.answer(challenge).decode()

    try:
        if mechanism == "PASSWORD":
            client.login(user, secret)
        else:
            client.auth(mechanism, respond)
        code, text = client.mail(given.get("sender", user))
        if code != 250:
            return told(exchange, f"{code} {text}")
        client.quit()
    except smtplib.SMTPResponseException as error:
        return told(exchange, f"{error.smtp_code} {error.smtp_error}")
    except smtplib.SMTPException as error:
        return told(exchange, str(error))
    return told(exchange, "in")


def managesieve():
    exchange = Exchange()
    raw = socket.create_connection(("127.0.0.1", given["ports"]["managesieve"]), PATIENCE)
    lines = raw.makefile("rb")

    def until_done():
        heard = []
        while True:
            line = lines.readline()
            assert line, "it closed"
            if line.startswith(b"{"):
                octets = lines.read(int(line.strip(b"{}+\r\n")))
                lines.readline()
                line = b'"' + octets + b'"'
            heard.append(line.strip())
            if line.split(b" ")[0].strip() in (b"OK", b"NO", b"BYE") or line.startswith(b'"') and challenged:
                return heard

    challenged = False
    until_done()
    raw.sendall(b"STARTTLS\r\n")
    until_done()
    raw = tls.wrap_socket(raw)
    lines = raw.makefile("rb")
    until_done()
    name = "PLAIN" if mechanism == "PASSWORD" else mechanism
    challenged = True

    def say(octets):
        raw.sendall(octets + b"\r\n")

    say(f'AUTHENTICATE "{name}" "{base64.b64encode(exchange.begin()).decode()}"'.encode())
    while True:
        last = until_done()[-1]
        if last.startswith(b"OK"):
            if mechanism == "SCRAM-SHA-256":
                # RFC 5804 §2.1: what SCRAM says last rides in the OK.
                final = last.split(b'(SASL "')[1].split(b'"')[0]
                exchange.check(base64.b64decode(final))
            challenged = False
            say(b"LISTSCRIPTS")
            until_done()
            return told(exchange, "in")
        if not last.startswith(b'"'):
            return told(exchange, last.decode())
        response = exchange.answer(base64.b64decode(last.strip(b'"')))
        say(b'"' + base64.b64encode(response) + b'"')


doors = {"imap": imap, "pop3": pop3, "smtp": smtp, "managesieve": managesieve}
print(json.dumps({name: door() for name, door in doors.items()}))
