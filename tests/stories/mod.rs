//! One file per user story; the file name is the story.
mod s01_a_letter_reaches_everybody;
mod s02_real_clients_send_and_read;
mod s03_killed_at_any_moment;
mod s04_nothing_readable_on_disk_or_in_logs;
mod s05_bad_input_at_the_doors;
mod s06_a_patient_reads_and_answers;
mod s07_rules_of_the_trust_space;
mod s08_another_operator_is_away;
mod s09_the_disk_fails;
mod s10_the_demonstration_stops_and_goes_on;
mod s11_a_day_and_nothing_in_clear;
