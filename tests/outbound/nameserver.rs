//! A small DNS server on loopback, over UDP and TCP, with real messages.
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::Mutex;

use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::op::OpCode;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::RecordType;
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::rdata::AAAA;
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::rdata::MX;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::UdpSocket;

/// How the server answers for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// As it should.
    Good,
    /// SERVFAIL.
    Broken,
    /// REFUSED.
    Refusing,
    /// Not at all.
    Silent,
    /// Over UDP it says only that the answer is longer.
    TooLong,
}

#[derive(Default)]
struct Zone {
    records: Vec<Record>,
    moods: Vec<(String, Mood)>,
    questions: Vec<(String, RecordType, &'static str)>,
}

pub(super) struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl NameServer {
    pub(super) async fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            // The same port of the other protocol may be taken by a stranger.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Zone::default()));
        let for_udp = Arc::clone(&zone);
        let datagrams = tokio::spawn(async move {
            let mut octets = [0; 4_096];
            loop {
                let (count, from) = udp.recv_from(&mut octets).await.unwrap();
                if let Some(answer) = answer(&for_udp, &octets[..count], "udp") {
                    udp.send_to(&answer, from).await.unwrap();
                }
            }
        });
        let for_tcp = Arc::clone(&zone);
        let streams = tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let zone = Arc::clone(&for_tcp);
                tokio::spawn(async move {
                    while let Ok(count) = stream.read_u16().await {
                        let mut octets = vec![0; usize::from(count)];
                        stream.read_exact(&mut octets).await.ok()?;
                        let answer = answer(&zone, &octets, "tcp")?;
                        stream.write_u16(u16::try_from(answer.len()).unwrap()).await.ok()?;
                        stream.write_all(&answer).await.ok()?;
                    }
                    Some(())
                });
            }
        });
        Self { address, zone, tasks: vec![datagrams, streams] }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn mx(&self, name: &str, preference: u16, host: &str) {
        self.add(name, RData::MX(MX::new(preference, Name::from_str(host).unwrap())));
    }

    pub(super) fn host(&self, name: &str, address: &str) {
        self.add(
            name,
            match address.parse().unwrap() {
                IpAddr::V4(address) => RData::A(A(address)),
                IpAddr::V6(address) => RData::AAAA(AAAA(address)),
            },
        );
    }

    pub(super) fn alias(&self, name: &str, real: &str) {
        self.add(name, RData::CNAME(CNAME(Name::from_str(real).unwrap())));
    }

    pub(super) fn mood(&self, name: &str, mood: Mood) {
        let mut zone = self.zone.lock().unwrap();
        zone.moods.retain(|(known, _)| known != name);
        zone.moods.push((name.to_owned(), mood));
    }

    /// Forgets every record of a name.
    pub(super) fn forget(&self, name: &str) {
        let name = Name::from_str(name).unwrap();
        self.zone.lock().unwrap().records.retain(|record| record.name != name);
    }

    pub(super) fn ttl(&self, seconds: u32) {
        self.zone.lock().unwrap().records.iter_mut().for_each(|record| record.ttl = seconds);
    }

    /// Over which protocol somebody asked.
    pub(super) fn asked(&self, name: &str, kind: RecordType) -> Vec<&'static str> {
        let zone = self.zone.lock().unwrap();
        let same = |question: &&(String, RecordType, &'static str)| {
            question.0.eq_ignore_ascii_case(name) && question.1 == kind
        };
        zone.questions.iter().filter(same).map(|question| question.2).collect()
    }

    pub(super) fn add(&self, name: &str, data: RData) {
        let record = Record::from_rdata(Name::from_str(name).unwrap(), 300, data);
        self.zone.lock().unwrap().records.push(record);
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn answer(zone: &Mutex<Zone>, octets: &[u8], protocol: &'static str) -> Option<Vec<u8>> {
    let question = Message::from_vec(octets).ok()?;
    let query = question.queries.first()?.clone();
    let name = query.name().to_ascii();
    let mut zone = zone.lock().unwrap();
    zone.questions.push((name.clone(), query.query_type(), protocol));
    let mood = zone.moods.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name));
    let mood = mood.map_or(Mood::Good, |(_, mood)| mood.clone());
    let mut message = Message::response(question.id, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    message.add_query(query.clone());
    match mood {
        Mood::Silent => return None,
        Mood::Broken => message.metadata.response_code = ResponseCode::ServFail,
        Mood::Refusing => message.metadata.response_code = ResponseCode::Refused,
        Mood::TooLong if protocol == "udp" => message.metadata.truncation = true,
        Mood::Good | Mood::TooLong => {
            let mut wanted = query.name().clone();
            let mut exists = false;
            // A recursive server follows aliases; a few are enough for anybody.
            for _ in 0..8 {
                let of_name: Vec<Record> =
                    zone.records.iter().filter(|record| record.name == wanted).cloned().collect();
                exists |= !of_name.is_empty();
                let alias = of_name.iter().find_map(|record| match &record.data {
                    RData::CNAME(CNAME(real)) => Some(real.clone()),
                    _ => None,
                });
                message.add_answers(of_name.into_iter().filter(|record| {
                    record.record_type() == query.query_type()
                        || record.record_type() == RecordType::CNAME
                }));
                match alias {
                    Some(real) => wanted = real,
                    None => break,
                }
            }
            if !exists {
                message.metadata.response_code = ResponseCode::NXDomain;
            }
        }
    }
    message.to_vec().ok()
}
