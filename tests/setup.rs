//! Setting mail programs up, against a whole relay: what other tools fetch, and what is printed.
use crate::support::running;
use crate::support::serving::Space;

const DOMAIN: &str = "hopital.mssante.test";
const USER: &str = "claire.fontaine@hopital.mssante.test";

#[test]
fn curl_fetches_what_programs_fetch_under_the_names_that_they_ask() {
    let space = Space::of(&[DOMAIN]);
    let settings = "[revocation]\nmode = \"off\"\n[setup]\nmta_sts = \"testing\"\n";
    let relay = space.relay(0).with(settings).start(&[USER]);
    let port = relay.port("https");
    let ca = relay.ca_file().display().to_string();
    let fetch = |url: &str| {
        let to = format!("::127.0.0.1:{port}");
        let output = running::run("curl", &["-sS", "--cacert", &ca, "--connect-to", &to, url]);
        let said = running::said(&output);
        assert!(output.status.success(), "{url}: {said}");
        said
    };
    let config =
        fetch(&format!("https://autoconfig.{DOMAIN}/mail/config-v1.1.xml?emailaddress={USER}"));
    let imaps = format!("<port>{}</port>", relay.port("imaps"));
    assert!(config.contains(&imaps) && config.contains("password-cleartext"), "{config}");
    assert!(!config.contains("OAuth2"), "there is no provider: {config}");
    let json = fetch(&format!(
        "https://autodiscover.{DOMAIN}/autodiscover/autodiscover.json?Email={USER}&Protocol=AutodiscoverV1"
    ));
    assert!(
        json.contains(&format!("https://{DOMAIN}:{port}/autodiscover/autodiscover.xml")),
        "{json}"
    );
    let policy = fetch(&format!("https://mta-sts.{DOMAIN}/.well-known/mta-sts.txt"));
    assert!(
        policy.contains("mode: testing") && policy.contains(&format!("mx: {DOMAIN}")),
        "{policy}"
    );
    let profile = fetch(&format!("https://{DOMAIN}/setup/apple?address={USER}"));
    assert!(profile.contains("com.apple.mail.managed"), "{profile}");

    let zone = relay.said(&["dns", "records"]);
    let imaps = format!("_imaps._tcp.{DOMAIN}. 3600 IN SRV 0 1 {} {DOMAIN}.", relay.port("imaps"));
    assert!(zone.lines().any(|line| line == imaps), "{zone}");
    assert!(zone.contains("not on port 443") && !zone.contains("CNAME"), "{zone}");
    let json = relay.said(&["dns", "records", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let sieve = json.as_array().unwrap().iter().find(|it| it["purpose"] == "filters (ManageSieve)");
    assert_eq!(sieve.unwrap()["port"], relay.port("managesieve"));
}
