//! The version enums behind which records are stored.

/// Gives a record `encode` and `decode` behind a version enum. The newest version is the record itself;
/// each earlier one is a type that becomes it.
macro_rules! versioned {
    ($record:ident, $versions:ident, $borrowed:ident) => {
        #[derive(Serialize)]
        enum $borrowed<'a> {
            V1(&'a $record),
        }

        #[derive(Deserialize)]
        enum $versions {
            V1($record),
        }

        impl From<$versions> for $record {
            fn from(versions: $versions) -> Self {
                let $versions::V1(record) = versions;
                record
            }
        }

        versioned!(@codec $record, $versions, $borrowed::V1);
    };
    ($record:ident, $versions:ident, $borrowed:ident, $earlier:ident) => {
        #[derive(Serialize)]
        #[expect(dead_code, reason = "the place of a version that is no longer written")]
        enum $borrowed<'a> {
            V1,
            V2(&'a $record),
        }

        #[derive(Deserialize)]
        enum $versions {
            V1($earlier),
            V2($record),
        }

        impl From<$versions> for $record {
            fn from(versions: $versions) -> Self {
                match versions {
                    $versions::V1(earlier) => earlier.into(),
                    $versions::V2(record) => record,
                }
            }
        }

        versioned!(@codec $record, $versions, $borrowed::V2);
    };
    ($record:ident, $versions:ident, $borrowed:ident, $first:ident, $second:ident) => {
        #[derive(Serialize)]
        #[expect(dead_code, reason = "the places of versions that are no longer written")]
        enum $borrowed<'a> {
            V1,
            V2,
            V3(&'a $record),
        }

        #[derive(Deserialize)]
        enum $versions {
            V1($first),
            V2($second),
            V3($record),
        }

        impl From<$versions> for $record {
            fn from(versions: $versions) -> Self {
                match versions {
                    $versions::V1(earlier) => earlier.into(),
                    $versions::V2(earlier) => earlier.into(),
                    $versions::V3(record) => record,
                }
            }
        }

        versioned!(@codec $record, $versions, $borrowed::V3);
    };
    (@codec $record:ident, $versions:ident, $newest:path) => {
        impl $record {
            /// Encodes the record as its newest version.
            ///
            /// # Errors
            /// [`codec::Error::Encode`]; no value of this type is known to cause it.
            pub fn encode(&self) -> Result<Vec<u8>, codec::Error> {
                codec::encode(&$newest(self))
            }

            /// Decodes a record of any version.
            ///
            /// # Errors
            /// [`codec::Error`] for bytes that are no such record.
            pub fn decode(bytes: &[u8]) -> Result<Self, codec::Error> {
                codec::decode::<$versions>(bytes).map(Into::into)
            }
        }
    };
}

pub(super) use versioned;
