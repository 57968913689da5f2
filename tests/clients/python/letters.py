"""Letters for the other programs of this folder."""
import os
import smtplib
import ssl


def letter(number, body="Bonjour, Éloïse va bien."):
    """A letter whose header and text have accents, with CRLF."""
    lines = [
        f"From: Dr Colleague <colleague{number}@hopital.mssante.test>",
        f"To: <{os.environ['RELAY_USER']}>",
        f"Subject: =?utf-8?q?Lettre_{number}_pour_=C3=89lo=C3=AFse?=",
        f"Date: Fri, {10 + number} Nov 2026 14:36:00 +0100",
        f"Message-ID: <{number}@client.test>",
        *([f"References: <1@client.test>", "In-Reply-To: <1@client.test>"] if number == 2 else []),
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        body,
        "",
    ]
    return "\r\n".join(lines).encode()


def send(subject="Apportee"):
    """A colleague sends a letter; it has arrived when this returns."""
    context = ssl.create_default_context(cafile=os.environ["RELAY_CA"])
    port = int(os.environ["RELAY_SUBMISSIONS"])
    colleague = os.environ["RELAY_COLLEAGUE"]
    with smtplib.SMTP_SSL("127.0.0.1", port, context=context) as session:
        session.login(colleague, os.environ["RELAY_PASSWORD"])
        text = (
            f"From: <{colleague}>\r\nTo: <{os.environ['RELAY_USER']}>\r\nSubject: {subject}\r\n"
            "Date: Fri, 20 Nov 2026 14:36:00 +0100\r\nMIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n\r\nBonjour.\r\n"
        )
        session.sendmail(colleague, [os.environ["RELAY_USER"]], text.encode("utf-8"),
                         mail_options=["SMTPUTF8"] if session.has_extn("smtputf8") else [])
