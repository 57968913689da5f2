//! As old practice software I fetch my letters over POP3: the real protocol, with the programs
//! that speak it.
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::TcpStream;

use crate::support::running;
use crate::support::running::Running;

const USER: &str = "eloise.lumier@cabinet.mssante.test";

/// Everything that Python's library asks of a server, in both kinds of TLS.
const POPLIB: &str = r#"
import poplib, ssl, sys
ca, stls, pop3s, user, password = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
tls = ssl.create_default_context(cafile=ca)
tls.check_hostname = False
def said(call):
    try:
        call()
    except poplib.error_proto as error:
        return error.args[0].decode()
    raise SystemExit("no refusal")

clear = poplib.POP3("127.0.0.1", stls, timeout=20)
assert "STLS" in clear.capa() and "USER" not in clear.capa(), clear.capa()
refused = said(lambda: clear.user(user))
assert refused.startswith("-ERR [AUTH]"), refused
clear.stls(tls)
capabilities = clear.capa()
assert "USER" in capabilities and capabilities["SASL"][-2:] == ["PLAIN", "LOGIN"], capabilities
assert "STLS" not in capabilities, capabilities
for name in ("TOP", "UIDL", "RESP-CODES", "PIPELINING"):
    assert name in capabilities, capabilities
clear.user(user)
assert said(lambda: clear.pass_("wrong")).startswith("-ERR [AUTH]")
clear.user(user)
clear.pass_(password)

other = poplib.POP3_SSL("127.0.0.1", pop3s, timeout=20, context=tls)
other.user(user)
assert said(lambda: other.pass_(password)).startswith("-ERR [IN-USE]")

count, octets = clear.stat()
assert count >= 2 and octets > 0, (count, octets)
sizes = [int(line.split()[1]) for line in clear.list()[1]]
assert len(sizes) == count and sum(sizes) == octets
ids = [line.split()[1] for line in clear.uidl()[1]]
assert len(set(ids)) == count and clear.uidl(1).split()[2] == ids[0]
letter = b"\r\n".join(clear.retr(1)[1]) + b"\r\n"
assert len(letter) == sizes[0], (len(letter), sizes[0])
head = b"\r\n".join(clear.top(1, 0)[1])
assert letter.startswith(head.rstrip(b"\r\n")) and b"Message-ID" in head.replace(b"Message-Id", b"Message-ID")
clear.dele(1)
assert clear.stat()[0] == count - 1
assert said(lambda: clear.retr(1)).startswith("-ERR")
assert said(lambda: clear.dele(1)).startswith("-ERR")
clear.rset()
assert clear.stat()[0] == count
clear.dele(1)
clear.close()  # without QUIT: nothing is deleted

again = poplib.POP3_SSL("127.0.0.1", pop3s, timeout=20, context=tls)
again.user(user)
again.pass_(password)
assert [line.split()[1] for line in again.uidl()[1]] == ids
again.dele(1)
again.quit()

last = poplib.POP3_SSL("127.0.0.1", pop3s, timeout=20, context=tls)
last.user(user)
last.pass_(password)
assert [line.split()[1] for line in last.uidl()[1]] == ids[1:]
last.quit()
print("fine")
"#;

#[test]
fn python_does_all_that_pop3_has_under_both_kinds_of_tls() {
    let running = Running::new(&[]);
    let ca = running.ca_file();
    let (stls, pop3s) = (running.port(1, "pop3"), running.port(1, "pop3s"));
    let arguments = ["-c", POPLIB, ca.to_str().unwrap(), &stls.to_string(), &pop3s.to_string()];
    let password = running.password(USER);
    let output = running::run("python3", &[&arguments[..], &[USER, &password]].concat());
    assert!(running::said(&output).contains("fine"), "{}", running::said(&output));
}

#[test]
fn curl_lists_fetches_and_deletes() {
    let running = Running::new(&[]);
    let login = format!("{USER}:{}", running.password(USER));
    let ca = running.ca_file();
    for (scheme, door) in [("pop3s", "pop3s"), ("pop3", "pop3")] {
        let url = format!("{scheme}://127.0.0.1:{}", running.port(1, door));
        let curl = |path: &str, extra: &[&str]| {
            let url = format!("{url}/{path}");
            let ca = ca.to_str().unwrap();
            let arguments = ["-sS", "--ssl-reqd", "--cacert", ca, "-u", &login, &url];
            let output = running::run("curl", &[&arguments[..], extra].concat());
            assert!(output.status.success(), "{}", running::said(&output));
            running::said(&output)
        };
        let before = curl("", &[]).lines().count();
        assert!(before >= 1);
        assert!(curl("1", &[]).contains("Message-I"), "curl reads the first letter");
        curl("1", &["-X", "DELE", "--head"]);
        assert_eq!(curl("", &[]).lines().count(), before - 1);
    }
}

#[test]
fn whoever_talks_nonsense_or_without_end_is_told_and_left() {
    let running = Running::new(&[]);
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", running.port(1, "pop3"))).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let mut reader = BufReader::new(stream);
        assert!(answer(&mut reader).starts_with("+OK"));
        reader
    };
    let mut reader = connect();
    for _ in 0..19 {
        reader.get_mut().write_all(b"XYZZY\r\n").unwrap();
        assert_eq!(answer(&mut reader), "-ERR unknown command\r\n");
    }
    reader.get_mut().write_all(b"XYZZY\r\n").unwrap();
    assert_eq!(answer(&mut reader), "-ERR Too many bad commands\r\n");
    assert_eq!(answer(&mut reader), "");

    let mut reader = connect();
    reader.get_mut().write_all(&[b'A'; 9_000]).unwrap();
    assert_eq!(answer(&mut reader), "-ERR The line is too long\r\n");

    let mut reader = connect();
    reader.get_mut().write_all(b"STLS\r\nUSER a\r\n").unwrap();
    assert_eq!(answer(&mut reader), "-ERR Nothing may follow STLS before TLS has begun\r\n");
    assert_eq!(answer(&mut reader), "");

    let mut reader = connect();
    reader.get_mut().write_all(b"STAT\r\nAUTH PLAIN\r\nQUIT\r\n").unwrap();
    assert_eq!(answer(&mut reader), "-ERR log in first\r\n");
    assert!(answer(&mut reader).starts_with("-ERR [AUTH]"));
    assert!(answer(&mut reader).starts_with("+OK"));
}

fn answer(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    let _ = reader.read_line(&mut line);
    line
}
