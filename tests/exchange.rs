//! Who may open and close an exchange with a patient.
use vaguemestre::domain::address::Address;
use vaguemestre::flow::exchange;
use vaguemestre::infra::store::Batch;
use vaguemestre::proto::mime::header;

use crate::queue::lab::Lab;

const DOCTOR: &str = "dr.lune@hopital.mssante.test";

#[tokio::test]
async fn nobody_closes_or_opens_an_exchange_in_somebody_elses_name() {
    let lab = Lab::new(&["cabinet.mssante.test"], &[], "retry_seconds = [1]").await;
    let office = lab.office();
    let address = |text: &str| Address::parse(text).unwrap();
    let (patient, doctor) = (address("288027599000175@patient.mssante.test"), address(DOCTOR));
    let note = async |fields: &str, speaks: bool| {
        let mut batch = Batch::new();
        let header = header::view(fields.as_bytes());
        exchange::note(office, &patient, &header, |_| speaks, &mut batch);
        office.store.commit(batch).await.unwrap();
        exchange::is_open(office, &patient, &doctor).await.unwrap()
    };
    let letter = format!("From: {DOCTOR}\r\n");
    let closing = format!("From: {DOCTOR}\r\nX-MSS-MES: FIN\r\n");
    assert!(!note(&letter, false).await, "opened by somebody who may not speak for the doctor");
    assert!(note(&letter, true).await);
    assert!(note(&closing, false).await, "closed by somebody who may not speak for the doctor");
    assert!(!note(&closing, true).await);
}
