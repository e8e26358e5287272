//! Private servers of Redis and Valkey on free ports, each ended with the test process: alone, with a replica and Sentinels, or as a cluster.
//!
//! They start in some 20 ms (a cluster and Sentinels in seconds), keep nothing on disk unless configured to, and can be killed, restarted on the
//! same port, frozen and thawed while a test runs. What lies between them and the store under test can be a [`Link`](super::link::Link).

/// Stamps test functions over both brands, so that the name of a test says which server failed: `#[tokio::test]: a_case, another_case`.
macro_rules! on_both {
    (#[$test:meta]: $($(#[$attribute:meta])* $case:ident),+ $(,)?) => {
        mod on_redis {
            $(
                $(#[$attribute])*
                #[$test]
                async fn $case() {
                    super::$case($crate::support::redis::Brand::Redis).await;
                }
            )+
        }

        mod on_valkey {
            $(
                $(#[$attribute])*
                #[$test]
                async fn $case() {
                    super::$case($crate::support::redis::Brand::Valkey).await;
                }
            )+
        }
    };
}

mod cluster;
mod sentinel;
mod server;
mod tests;

pub use cluster::Cluster;
pub(crate) use on_both;
pub use sentinel::Watched;
pub use server::{Brand, Server, Setup, Tls};
