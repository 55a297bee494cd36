//! What was published of a period: results that are never changed, each with what it was made from. Who decides that one is
//! due is [`crate::sla::life`], who keeps them is [`crate::store`].

/// Why a revision was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The time for late reports was over.
    Published,
    /// Reports came later than that.
    LateData,
    /// Records of excluded time came, went or changed.
    ExclusionsChanged,
    /// The agreement changed, or whether it is countersigned.
    AgreementChanged,
}

impl Cause {
    /// Every cause with its word.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("published", Self::Published),
        ("late_data", Self::LateData),
        ("exclusions_changed", Self::ExclusionsChanged),
        ("agreement_changed", Self::AgreementChanged),
    ];

    /// The word in results.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, cause)| *cause == self).map_or("", |(word, _)| word)
    }

    /// The cause of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, cause)| *cause)
    }
}

/// What a result was made from, as digests: equal ones have equal results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    /// The form of what was hashed: digests of inputs and of exclusions can only be compared with those of the same form.
    pub form: u32,
    /// All of it.
    pub inputs: String,
    /// The agreement and whether it is countersigned.
    pub terms: String,
    /// The records of excluded time.
    pub exclusions: String,
}

/// A result that was published, without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Counted from 1.
    pub number: u64,
    /// The agreement's version.
    pub version: u64,
    /// When it was published, s since 1970.
    pub made_s: i64,
    /// Why.
    pub cause: Cause,
    /// The period was final already.
    pub after_final: bool,
    /// What it was made from.
    pub basis: Basis,
    /// What is payable by it, with all decimals.
    pub payable: String,
    /// Its currency.
    pub currency: String,
    /// What it changed about what is payable, with sign; of the first, all of it.
    pub delta: String,
}
