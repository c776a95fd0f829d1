//! The etcd store on real servers: of Debian, 3.4, and a newer one, 3.5.
//!
//! Each test starts its own, on ports that the kernel chooses, below a directory of its own. A
//! version that is not installed is skipped, and named at the end of `cargo xtask test`.

mod access;
mod commits;
mod holding;
mod server;
mod space;
mod watching;

use std::sync::Arc;

use interlock_coordinator::store::Store;
use interlock_coordinator::store::etcd::Etcd;

use crate::{conformance, leadership};
use server::{Cluster, PATIENCE, Version};

/// An empty store on a server of its own.
pub(crate) struct Fixture {
    store: Etcd,
    cluster: Cluster,
}

impl Fixture {
    async fn on(version: Version) -> Option<Self> {
        let cluster = Cluster::start(version)?;
        let store = cluster.open().await.unwrap();
        Some(Self { store, cluster })
    }

    async fn reopened(self) -> Self {
        self.store.close().await;
        let store = self.cluster.open().await.unwrap();
        Self { store, ..self }
    }
}

macro_rules! each_version {
    ($($module:ident: $test:ident,)*) => {
        mod debian {
            use super::*;
            each_version! { @of Debian; $($module: $test,)* }
        }
        mod newer {
            use super::*;
            each_version! { @of Newer; $($module: $test,)* }
        }
    };
    (@of $version:ident; $($module:ident: $test:ident,)*) => {
        pub(crate) struct OfVersion(Fixture);

        impl conformance::Fixture for OfVersion {
            async fn new() -> Option<Self> {
                Fixture::on(Version::$version).await.map(Self)
            }

            fn store(&self) -> Arc<dyn Store> {
                Arc::new(self.0.store.clone())
            }

            async fn close(&self) {
                self.0.store.close().await;
            }

            async fn reopened(self) -> Self {
                Self(self.0.reopened().await)
            }
        }

        conformance::suite!(OfVersion);
        leadership::suite!(OfVersion);

        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                $module::$test(Version::$version).await;
            }
        )*
    };
}

each_version! {
    access: a_member_or_a_client_of_another_authority_is_refused_and_named,
    access: a_password_that_changes_is_refused_until_the_file_has_it,
    access: a_token_that_expired_is_renewed_within_the_call_and_watches_go_on,
    commits: what_is_said_of_a_commit_is_true_through_stops_and_kills,
    commits: a_member_that_is_stopped_is_left_for_the_next_one,
    commits: members_that_are_slow_by_turns_cost_time_and_no_truth,
    holding: a_second_process_is_refused_or_waits_until_the_first_lets_go,
    holding: a_process_that_was_killed_is_followed_when_its_lease_ends,
    holding: a_holder_whose_lease_ended_commits_nothing_and_is_told,
    holding: the_incarnation_and_the_data_stay_over_openings,
    holding: clusters_below_different_prefixes_do_not_see_each_other,
    space: without_space_nothing_is_written_until_there_is_some,
    space: compaction_forgets_old_revisions_and_no_data,
    watching: a_watch_goes_on_over_a_killed_member_and_skips_nothing,
    watching: a_watch_on_a_stopped_member_goes_on_at_another,
    watching: a_watch_of_what_is_compacted_says_so,
    watching: a_watch_that_was_cut_off_over_a_compaction_is_told_when_it_is_taken_up,
    watching: a_snapshot_is_of_one_revision_while_others_compact,
}

/// Asks again until `check` is content.
pub(crate) async fn eventually<T>(what: &str, check: impl AsyncFn() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"))
}
