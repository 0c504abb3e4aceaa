use serde::{Deserialize, Serialize};

/// What people read off a training run. The most telling one comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "&str", try_from = "String")]
pub enum Quantity {
    /// Examples whose highest score is the right class's; where an example has several labels, the
    /// labels whose score is on the right side.
    Accuracy,
    /// Examples whose right class is among the five highest scores.
    TopFiveAccuracy,
    /// Squared error of a regression.
    SquaredError,
    /// Negative binary logarithm of the probability of masked bytes.
    BitsPerByte,
    /// Distance between flow and truth, in pixels.
    EndPointError,
    /// Pixels whose flow is off by more than three pixels and more than a twentieth (`Fl-all`).
    FlowOutliers,
    /// Squared error of pictures in 0 to 1; read as peak signal-to-noise ratio.
    PictureError,
    /// Squared error of sound in -1 to 1; read as peak signal-to-noise ratio.
    SoundError,
}

impl Quantity {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Accuracy,
        Self::TopFiveAccuracy,
        Self::SquaredError,
        Self::BitsPerByte,
        Self::EndPointError,
        Self::FlowOutliers,
        Self::PictureError,
        Self::SoundError,
    ];

    /// As it stands in tables and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::TopFiveAccuracy => "top-5 accuracy",
            Self::SquaredError => "squared error",
            Self::BitsPerByte => "bits per byte",
            Self::EndPointError => "end-point error",
            Self::FlowOutliers => "Fl-all",
            Self::PictureError => "picture PSNR",
            Self::SoundError => "sound PSNR",
        }
    }

    /// Unit of [`value`](Self::value), empty for a plain number.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Accuracy | Self::TopFiveAccuracy | Self::FlowOutliers => "%",
            Self::SquaredError => "",
            Self::BitsPerByte => "bits",
            Self::EndPointError => "px",
            Self::PictureError | Self::SoundError => "dB",
        }
    }

    /// Whether more is better.
    #[must_use]
    pub const fn rises(self) -> bool {
        match self {
            Self::Accuracy | Self::TopFiveAccuracy | Self::PictureError | Self::SoundError => true,
            Self::SquaredError | Self::BitsPerByte | Self::EndPointError | Self::FlowOutliers => {
                false
            }
        }
    }

    /// What people read, from a sum and a count.
    #[must_use]
    pub fn value(self, total: f64, count: f64) -> f64 {
        let mean = total / count;
        match self {
            Self::Accuracy | Self::TopFiveAccuracy | Self::FlowOutliers => 100.0 * mean,
            Self::SquaredError | Self::BitsPerByte | Self::EndPointError => mean,
            // The peak is 1 of pictures, and 2 between the ends of sound, of which DeepMind's
            // measure takes 1.
            Self::PictureError | Self::SoundError => -10.0 * mean.log10(),
        }
    }
}

impl From<Quantity> for &str {
    fn from(quantity: Quantity) -> Self {
        quantity.name()
    }
}

impl TryFrom<String> for Quantity {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::ALL.into_iter().find(|quantity| quantity.name() == name).ok_or_else(|| {
            format!("no quantity, expected one of {}", Self::ALL.map(Self::name).join(", "))
        })
    }
}
