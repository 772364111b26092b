//! The conformance suite notices broken stores: each of these breaks one promise of the contract.

mod faulty;

use std::{sync::Arc, time::Duration};

use faulty::{Fault, Faulty};
use futures::StreamExt;
use oubliette::{
    event::RecordedEvent,
    store::{
        Capabilities, Capability, EventStore, MemoryStore, ReadAllOptions,
        conformance::{self, Fixture, Profile},
    },
};

fn fixture(fault: Fault) -> Fixture {
    Fixture::new(Arc::new(Faulty { inner: MemoryStore::new(), fault, met: Arc::default() }))
}

/// Long enough for every case on a busy machine, short where a fault makes the case wait.
fn patient(fixture: Fixture, seconds: u64) -> Fixture {
    fixture.with_profile(Profile::default().waiting(Duration::from_secs(seconds)))
}

macro_rules! notices {
    ($($name:ident: $fault:ident in $case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let fixture = patient(fixture(Fault::$fault), 3);
            let violation = conformance::$case(&fixture).await.expect_err("it passed");
            assert_eq!(violation.case, stringify!($case));
            assert!(violation.to_string().contains(violation.bullet));
        }
    )*};
}

notices! {
    ignored_expectations: IgnoresExpectations in stale_append_writes_nothing
    two_winners: IgnoresExpectations in one_writer_wins
    an_ignored_no_stream: IgnoresNoStream in stale_append_writes_nothing
    two_first_writers: IgnoresNoStream in one_writer_wins
    a_lie_about_the_actual_revision: LiesAboutActual in stale_append_writes_nothing
    another_expectation_reported: ReportsAnotherExpectation in stale_append_writes_nothing
    half_a_batch: WritesOneByOne in append_is_all_or_nothing
    half_a_batch_in_a_partial_retry: WritesOneByOne in partial_retry_is_refused
    half_a_batch_when_dropped: WritesOneByOne in dropped_append_is_all_or_nothing
    streams_one_by_one: WritesStreamsOneByOne in several_streams_need_the_capability
    streams_one_by_one_when_stale: WritesStreamsOneByOne in stale_append_writes_nothing
    the_first_revision: ReturnsTheFirstRevision in append_returns_revision_and_position
    positions_of_its_own: ReturnsPositionsOfItsOwn in append_returns_revision_and_position
    positions_of_two_lengths: HasPositionsOfTwoLengths in append_returns_revision_and_position
    answers_by_name: AnswersInTheOrderOfNames in append_returns_revision_and_position
    swallowed_events: SwallowsEventsSilently in read_is_in_order
    malformed_appends: AcceptsTheMalformed in malformed_appends_are_refused
    a_retry_taken_for_new: TakesARetryForNew in retry_is_answered_as_done
    the_head_told_to_a_retry: ReportsTheHeadToARetry in retry_is_answered_as_done
    a_conflict_on_a_retry: ConflictsOnARetry in retry_is_answered_as_done
    a_retry_not_called_one: ForgetsThatARetryIsOne in retry_is_answered_as_done
    a_completed_partial_retry: CompletesAPartialRetry in partial_retry_is_refused
    pretended_batches: PretendsToHaveAll in several_streams_need_the_capability
    pretended_bytes: PretendsToHaveAll in payloads_come_back_as_they_went_in
    pretended_backwards: PretendsToHaveAll in read_is_in_order
    pretended_read_all: PretendsToHaveAll in read_all_is_in_order
    pretended_subscriptions: PretendsToHaveAll in subscription_filters
    a_broken_promise: RefusesWhatItPromises in several_streams_need_the_capability
    rounded_numbers: RoundsNumbers in payloads_come_back_as_they_went_in
    lost_white_space: DropsWhiteSpace in payloads_come_back_as_they_went_in
    lost_metadata: DropsMetadata in payloads_come_back_as_they_went_in
    bytes_taken_for_text: TakesBytesForText in payloads_come_back_as_they_went_in
    a_read_that_starts_late: StartsBehindTheRevision in read_is_in_order
    an_ignored_limit: IgnoresTheLimit in read_is_in_order
    an_ignored_direction: IgnoresTheDirection in read_is_in_order
    swapped_neighbours: SwapsNeighbours in read_all_is_in_order
    positions_that_show_late: ShowsPositionsLate in read_all_skips_nothing_in_flight
    a_position_read_too: ReadsFromThePositionToo in read_all_is_in_order
    any_position: TakesAnyPosition in foreign_positions_are_refused
    any_position_to_subscribe: TakesAnyPositionToSubscribe in foreign_positions_are_refused
    a_position_beyond_the_end: WaitsBeyondTheEnd in foreign_positions_are_refused
    folded_case: FoldsCase in streams_are_apart
    folded_case_beyond_ascii: FoldsCaseBeyondAscii in streams_are_apart
    cut_names: CutsNames in streams_are_apart
    an_error_at_the_largest: CannotHoldTheLargest in payloads_come_back_as_they_went_in
    the_largest_cut: CutsTheLargest in payloads_come_back_as_they_went_in
    no_times: RecordsNothing in recorded_is_when_it_was_written
    times_of_reading: ForgetsTheTimes in recorded_is_when_it_was_written
    a_lost_live_event: LosesTheFirstLiveEvent in subscription_catches_up_then_goes_live
    a_lost_event_at_the_join: LosesTheFirstLiveEvent in subscription_joins_without_gap_or_repeat
    a_repeated_event: RepeatsAtTheJoin in subscription_catches_up_then_goes_live
    a_repeated_event_at_the_join: RepeatsAtTheJoin in subscription_joins_without_gap_or_repeat
    never_caught_up_with_an_empty_store: IsNeverCaughtUpWithNothing in subscription_catches_up_then_goes_live
    never_caught_up_with_what_a_filter_leaves_out: IsNeverCaughtUpWithNothing in subscription_filters
    caught_up_twice: IsCaughtUpTwice in subscription_catches_up_then_goes_live
    caught_up_twice_at_the_join: IsCaughtUpTwice in subscription_joins_without_gap_or_repeat
    a_subscription_that_never_goes_live: NeverGoesLive in subscription_catches_up_then_goes_live
    a_subscription_that_sleeps_on: NeverWakesAnybody in subscription_catches_up_then_goes_live
    a_subscription_that_ends: EndsAfterCatchingUp in subscription_catches_up_then_goes_live
    the_start_delivered_too: DeliversTheStartToo in subscription_catches_up_then_goes_live
    ignored_prefixes: IgnoresPrefixes in subscription_filters
    ignored_types: IgnoresTypes in subscription_filters
    rounded_numbers_instead_of_refused:
        RoundsNumbersInsteadOfRefusing in payloads_come_back_as_they_went_in
    numbers_refused_that_it_holds: RefusesNumbersThatItHolds in payloads_come_back_as_they_went_in
    nul_lost_instead_of_refused: LosesNulInsteadOfRefusing in payloads_come_back_as_they_went_in
    pretended_restore: PretendsToHaveAll in restore_keeps_what_was_recorded
    lost_times: ForgetsTheTimes in restore_keeps_what_was_recorded
    no_mark: DoesNotMark in restore_keeps_what_was_recorded
    a_mark_on_everything: MarksEverything in restore_keeps_what_was_recorded
    restored_stream_by_stream: RestoresStreamByStream in restore_keeps_what_was_recorded
    half_a_restore: RestoresOneByOne in restore_is_all_or_nothing
    half_a_restore_that_does_not_follow: RestoresOneByOne in restore_refuses_what_does_not_follow
    half_of_a_dropped_restore: RestoresHalfWhenDropped in restore_is_all_or_nothing
    closed_gaps: ClosesGaps in restore_keeps_gaps
    refused_gaps: RefusesGaps in restore_keeps_gaps
    another_event_taken_for_the_same: TakesAnotherForTheSame in restore_refuses_what_does_not_follow
    an_opened_event: RestoresWhatALayerOpened in restore_refuses_what_does_not_follow
    a_repeat_taken_for_new: TakesARepeatForNew in restore_can_be_repeated
    a_refused_repeat: RefusesARepeat in restore_can_be_repeated
    half_of_a_dropped_append: StopsHalfWhenDropped in dropped_append_is_all_or_nothing
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_wrapper_without_a_fault_passes() {
    let result = conformance::run_all(|| async { fixture(Fault::None) }).await;
    assert_eq!(result, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_says_that_it_respells_is_forgiven_that_and_nothing_else() {
    let respelling = |fault| {
        let capabilities = Capabilities::ALL.without(Capability::Verbatim);
        let inner = MemoryStore::with_capabilities(capabilities);
        Fixture::new(Arc::new(Faulty { inner, fault, met: Arc::default() }))
    };
    conformance::payloads_come_back_as_they_went_in(&respelling(Fault::DropsWhiteSpace))
        .await
        .unwrap();
    for fault in [Fault::RoundsNumbers, Fault::DropsMetadata, Fault::TakesBytesForText] {
        let result = conformance::payloads_come_back_as_they_went_in(&respelling(fault)).await;
        assert!(result.is_err(), "{fault:?} passed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_doubles_that_refuses_all_others_passes() {
    let lacks = Capabilities::ALL.without(Capability::Verbatim).without(Capability::LongNumbers);
    let fresh = || async move {
        let inner = MemoryStore::with_capabilities(lacks);
        Fixture::new(Arc::new(Faulty { inner, fault: Fault::RoundsNumbers, met: Arc::default() }))
    };
    assert_eq!(conformance::run_all(fresh).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_chooses_names_and_fields() {
    let profile = || {
        Profile::default()
            .naming(|tag| format!("tenant/customer-{tag}"))
            .shaping(|value| format!(r#"{{"id":"c-1","colour":"blue","surname":{value}}}"#))
    };
    let store = MemoryStore::new();
    let shared = store.clone();
    // One store for all cases: none of them is disturbed by what the others leave.
    let fresh = || async { Fixture::new(shared.clone()).with_profile(profile()) };
    assert_eq!(conformance::run_all(fresh).await, Ok(()));
    let events: Vec<RecordedEvent> =
        store.read_all(ReadAllOptions::default()).map(Result::unwrap).collect().await;
    assert!(events.len() > 1_000);
    assert!(events.iter().all(|event| event.stream.as_str().starts_with("tenant/customer-")));
}
