//! End-to-end tests: a real server over a socket, on every backend that matters.

#![expect(clippy::unwrap_used, clippy::large_futures, reason = "these are tests throughout")]

mod bad_fields;
mod bad_frames;
mod bad_lines;
mod bad_streams;
mod batches;
mod claims;
mod clocks;
mod content_sharing;
mod corruption;
mod crashes;
mod crowds;
mod faults;
mod folder_records;
mod folders;
mod garbage;
mod io_errors;
mod languages;
mod listing;
mod lookups;
mod members;
mod polyglot;
mod published;
mod races;
mod ranges;
mod readme;
mod replacing;
mod requests;
mod round_trips;
mod rust_client;
mod rust_client_folders;
mod rust_client_uploads;
mod slow_callers;
mod starting;
mod strange_folders;
mod suffixes;
mod surface;
mod trash;
mod updates;
mod upgrade;
mod uploads;
mod vanishing;
mod versions;
