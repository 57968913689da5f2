//! Filters: uploaded by ManageSieve, run at delivery, over the real program.
#[path = "sieve/client.rs"]
pub(crate) mod client;
#[path = "sieve/delivery.rs"]
mod delivery;
#[path = "sieve/door.rs"]
mod door;
#[path = "sieve/second.rs"]
mod second;

const HUGO: &str = "hugo.oreade@hopital.mssante.test";
const CLAIRE: &str = "claire.fontaine@hopital.mssante.test";
const AMINE: &str = "amine.belcourt@hopital.mssante.test";
const PAUL: &str = "paul.verdier@cabinet.mssante.test";
const ADA: &str = "288027599000175@patient.mssante.test";
