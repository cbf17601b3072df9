//! What every adapter must do, as tests that every adapter runs.
//!
//! ```ignore
//! jumun_database::conformance!(Memory::default());
//! ```
//!
//! expands to one test a function of this module; the expression gives each of them a [`Home`] of its own.

#![allow(clippy::unwrap_used, reason = "these are tests, compiled here so that adapters elsewhere can run them")]

mod commits;
mod documents;
mod fixtures;
mod journal;
mod requests;
mod shadows;
mod waits;

#[doc(hidden)]
pub use {commits::*, documents::*, journal::*, requests::*, shadows::*, waits::*};

pub use fixtures::{Everything, Home, event, everything, order, request, schema};

/// Makes one `#[tokio::test]` of each test of the suite. The argument is an expression that makes a [`Home`].
#[macro_export]
macro_rules! conformance {
    ($home:expr) => {
        $crate::conformance! { $home =>
            a_commit_does_all_of_it
            a_commit_that_is_wrong_about_one_thing_changes_nothing
            a_conflict_leaves_the_rest_of_its_group_alone
            a_document_changes_only_from_the_version_it_has
            a_document_is_unchanged_only_with_the_content_that_was_read
            of_many_writers_of_a_document_none_is_lost
            hidden_documents_are_remembered_and_not_listed
            pages_are_sorted_by_any_field
            pages_are_filtered_by_texts_and_numbers
            pages_cut_a_long_list
            totals_follow_every_commit
            an_index_finds_the_first
            a_scan_gives_all_documents_in_order_of_id
            events_are_numbered_without_gaps_in_commit_order
            each_partition_is_numbered_on_its_own
            the_journal_is_read_in_pieces
            a_request_moves_only_forward_and_only_from_the_state_it_is_in
            an_answer_stays_until_there_is_another
            an_answer_names_the_last_event_of_its_commit
            only_what_is_asked_is_delayed
            a_key_belongs_to_one_request
            a_key_is_released_only_by_an_attempt_without_an_answer
            a_key_can_pass_on_within_one_commit
            requests_are_listed_by_state_age_and_place
            doubts_are_found_by_their_subject
            a_place_moves_only_from_where_it_is
            a_place_of_another_epoch_is_a_conflict
            what_is_over_a_limit_is_never_done
            an_id_is_never_given_twice
            a_purge_takes_the_oldest_that_are_not_in_doubt
            what_is_committed_outlives_the_process
            a_closed_database_does_nothing
            the_writer_counts_what_it_does
            nobody_sees_a_shadow_before_it_takes_its_place
            documents_that_were_switched_are_found_and_changed_like_all_others
            a_switch_needs_the_places_to_be_as_believed
            a_shadow_is_cleared_in_steps_and_filled_within_bounds
            a_base_is_kept_with_its_places_and_nobody_sees_it
            a_base_does_not_get_into_the_way_of_shadows
            what_is_due_is_listed_with_the_oldest_first
            a_wait_changes_only_with_its_document
        }
    };
    ($home:expr => $($test:ident)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                $crate::conformance::$test(&$home).await;
            }
        )*
    };
}
