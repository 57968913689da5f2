//! The operators' door of a real relay, and a third operator that misbehaves in front of it.
mod inbound_cuts;
mod inbound_door;
mod inbound_explain;
mod inbound_house;
mod inbound_programs;
mod inbound_rogues;
