//! Several letters over one connection, as long as nothing is in doubt.
use std::time::Duration;

use vaguemestre::domain::operator::OperatorDn;
use vaguemestre::flow::deliver::operator::HandoverResult;
use vaguemestre::flow::deliver::operator::HandoverResult::Taken;
use vaguemestre::flow::deliver::operator::Outcome;
use vaguemestre::flow::deliver::operator::Pool;

use super::Letter;
use super::Space;
use super::put_off;
use super::refused;
use super::results;
use super::server::Act;
use super::server::Script;
use super::server::Server;

struct Sender<'a> {
    space: &'a Space,
    pool: Pool,
    tls: std::sync::Arc<rustls::ClientConfig>,
}

impl<'a> Sender<'a> {
    fn new(space: &'a Space) -> Self {
        Self { space, pool: Pool::new(), tls: space.client() }
    }

    async fn send(
        &self,
        server: &Server,
        to: &[&str],
        is_listed: &(dyn Fn(&OperatorDn) -> bool + Sync),
    ) -> Vec<Outcome> {
        let letter = Letter::to(to);
        let hosts = server.hosts();
        let handover = self.space.handover(&hosts, &letter, self.tls.clone(), is_listed);
        self.pool.hand_over(handover).await.outcomes
    }
}

fn connections(server: &Server) -> usize {
    server.seen().commands.iter().filter(|line| line.starts_with("EHLO")).count()
}

async fn check(script: Script, expected: HandoverResult, connections_expected: usize) {
    let space = Space::new();
    let server = space.server(script.clone()).await;
    let sender = Sender::new(&space);
    for _ in 0..3 {
        let outcomes = sender.send(&server, &["b@c.test"], &|_| true).await;
        assert_eq!(results(&outcomes), [expected], "{script:?} {outcomes:?}");
    }
    assert_eq!(connections(&server), connections_expected, "{script:?}");
}

#[tokio::test]
async fn letters_follow_each_other_on_one_connection() {
    check(Script::good(), Taken, 1).await;
    check(Script::plain(), Taken, 1).await;
}

#[tokio::test]
async fn a_connection_goes_on_after_a_refused_letter_and_ends_after_a_refused_envelope() {
    check(Script::good().at(".", Act::Say("550 5.6.0 no\r\n")), refused(6, 0), 1).await;
    check(Script::good().at("MAIL", Act::Say("550 5.7.1 no\r\n")), refused(7, 1), 3).await;
    check(Script::good().at("RCPT", Act::Say("550 5.1.1 no\r\n")), refused(1, 1), 3).await;
    check(Script::good().at(".", Act::Say("251 what\r\n")), put_off(5, 0), 3).await;
}

#[tokio::test]
async fn a_server_that_hangs_up_between_letters_is_called_again() {
    check(Script::good().at(".", Act::SayAndClose("250 ok\r\n")), Taken, 3).await;
    check(Script::good().at(".", Act::SayAndVanish("250 ok\r\n")), Taken, 3).await;
    check(Script::good().at(".", Act::SayAndClose("250 ok\r\n421 bye\r\n")), Taken, 3).await;
    check(Script::plain().at(".", Act::SayAndClose("250 ok\r\n421-a\r\n421 b\r\n")), Taken, 3)
        .await;
}

#[tokio::test]
async fn a_waiting_connection_is_judged_by_the_list_again() {
    let space = Space::new();
    let server = space.server(Script::good()).await;
    let sender = Sender::new(&space);
    assert_eq!(results(&sender.send(&server, &["b@c.test"], &|_| true).await), [Taken]);
    assert_eq!(sender.pool.idle(), 1);
    let outcomes = sender.send(&server, &["b@c.test"], &|_| false).await;
    assert_eq!(results(&outcomes), [put_off(7, 5)]);
    assert_eq!(connections(&server), 1, "an unlisted server was spoken to");
}

#[tokio::test]
async fn a_waiting_connection_of_older_certificates_is_not_used() {
    let space = Space::new();
    let server = space.server(Script::good()).await;
    let mut sender = Sender::new(&space);
    assert_eq!(results(&sender.send(&server, &["b@c.test"], &|_| true).await), [Taken]);
    sender.tls = space.client();
    assert_eq!(results(&sender.send(&server, &["b@c.test"], &|_| true).await), [Taken]);
    assert_eq!(connections(&server), 2);
}

/// Waits until the server has heard so many QUITs.
async fn farewells(server: &Server, expected: usize) {
    for _ in 0..200 {
        let quits = server.seen().commands.iter().filter(|line| *line == "QUIT").count();
        if quits == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{expected} farewells were expected: {:?}", server.seen().commands);
}

#[tokio::test]
async fn the_oldest_connection_makes_room_for_a_new_one_and_says_so() {
    let space = Space::new();
    let mut sender = Sender::new(&space);
    sender.pool = Pool::sized(1, 1);
    let mut servers = Vec::new();
    for _ in 0..3 {
        let server = space.server(Script::good()).await;
        assert_eq!(results(&sender.send(&server, &["b@c.test"], &|_| true).await), [Taken]);
        servers.push(server);
    }
    assert_eq!(sender.pool.idle(), 2);
    farewells(&servers[0], 1).await;
    for server in &servers[1..] {
        assert_eq!(results(&sender.send(server, &["b@c.test"], &|_| true).await), [Taken]);
        assert_eq!(connections(server), 1, "the young ones stay");
    }
}

#[tokio::test]
async fn a_connection_that_nobody_wants_is_closed_though_no_other_letter_comes() {
    let space = Space::new();
    let server = space.server(Script::good()).await;
    let sender = Sender::new(&space);
    assert_eq!(results(&sender.send(&server, &["b@c.test"], &|_| true).await), [Taken]);
    for _ in 0..3 {
        // Whoever sweeps sleeps again.
        tokio::time::sleep(Duration::from_millis(20)).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(16)).await;
        tokio::time::resume();
    }
    farewells(&server, 1).await;
    assert_eq!(sender.pool.idle(), 0);
}
