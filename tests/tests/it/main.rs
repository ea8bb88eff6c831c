//! End-to-end tests: a real server over a socket, on every backend that matters.

#![expect(clippy::unwrap_used, clippy::large_futures, reason = "these are tests throughout")]

mod aliases;
mod annotated_saves;
mod annotation_values;
mod annotations;
mod artifactctl;
mod artifactctl_copies;
mod artifactctl_exits;
mod artifactctl_record;
mod artifactctl_tables;
mod artifactctl_terminal;
mod artifactctl_transfers;
mod bad_fields;
mod bad_folders;
mod bad_frames;
mod bad_lines;
mod bad_streams;
mod bad_tables;
mod bad_uploads;
mod batch_claims;
mod batches;
mod claims;
mod clocks;
mod clouds;
mod collections;
mod content_sharing;
mod corruption;
mod crashes;
mod crowds;
mod describing;
mod events;
mod exhausted;
mod faults;
mod features;
mod filters;
mod folder_races;
mod folder_records;
mod folders;
mod garbage;
mod hostile_servers;
mod in_place;
mod io_errors;
mod labels;
mod languages;
mod lineage;
mod listing;
mod lookups;
mod lost_uploads;
mod many_artifacts;
mod members;
mod moved_by_clients;
mod moved_folders;
mod moved_tables;
mod moves;
mod polyglot;
mod published;
mod races;
mod ranges;
mod read_only_storages;
mod readme;
mod readme_tables;
mod record_filters;
mod rejections;
mod removed_in_place;
mod replacing;
mod requests;
mod restored;
mod round_trips;
mod runs;
mod rust_client;
mod rust_client_cache;
mod rust_client_collections;
mod rust_client_downloads;
mod rust_client_folders;
mod rust_client_lines;
mod rust_client_schemas;
mod rust_client_tables;
mod rust_client_uploads;
mod schemas;
mod search;
mod slow_callers;
mod slow_tables;
mod spaces;
mod starting;
mod steps;
mod storages;
mod strange_folders;
mod suffixes;
mod surface;
mod table_folders;
mod table_refusals;
mod table_tickets;
mod table_writes;
mod tables;
mod trash;
mod tried_storages;
mod updates;
mod upgrade;
mod upload_rivals;
mod uploads;
mod vanishing;
mod versions;
mod walks;
mod work;

/// The compiler says nothing of a file that no `mod` names: its tests would just not run.
#[test]
fn every_file_here_is_a_module() {
    let named = include_str!("main.rs");
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let is_named = named.lines().any(|line| line == format!("mod {name};"));
        assert!(is_named || name == "main", "{} is no module", path.display());
    }
}
