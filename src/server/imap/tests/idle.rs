//! What a session that waits holds: there are ten thousand of them.
use crate::proto::imap::command::Body;
use crate::proto::imap::command::Command;
use crate::proto::imap::command::Tag;
use crate::server::imap::line::Line;
use crate::server::imap::session::Safety;
use crate::server::imap::session::Session;
use crate::server::imap::shelf::Desk;
use crate::server::imap::tests::House;

#[tokio::test]
async fn a_session_that_waits_is_a_small_task() {
    let house = House::new().await;
    let (_near, far) = tokio::io::duplex(64);
    let line = Line::new(Box::new(far), house.stopped.clone(), house.desk.times());
    let count = |_: bool| {};
    let mut session = Box::new(Session::new(&*house.desk, line, Safety::Tls, None, &count));
    let tag = Tag::parse("a").unwrap();
    let idle = Command { tag, body: Body::Idle };
    let state = size_of_val(&*session);
    let waiting = size_of_val(&session.idle());
    let obeying = size_of_val(&session.obey(idle));
    let whole = size_of_val(&session.run());
    let told = format!("session {state}, IDLE {waiting} of {obeying}, around it {whole}");
    assert!(state <= 832 && obeying <= 1_792 && whole <= 544, "{told}");
}
