use burn::tensor::{Bool, ElementConversion, Int, Tensor};

/// The keys that are hidden from attention.
///
/// Internally, `true` means hidden. The constructors name the polarity of their argument, because
/// Hugging Face's masks mean the opposite of burn's.
///
/// If every key of an example is hidden, its queries attend to all keys equally, as in the reference,
/// which adds the lowest finite number to hidden scores instead of minus infinity.
#[derive(Debug, Clone)]
pub struct KeyMask {
    hidden: Tensor<2, Bool>,
}

impl KeyMask {
    /// A mask that is `true` where a key is hidden.
    ///
    /// # Shapes
    /// - `hidden`: `[batch, keys]`
    #[must_use]
    pub const fn from_hidden(hidden: Tensor<2, Bool>) -> Self {
        Self { hidden }
    }

    /// Hugging Face's `attention_mask`: zero hides a key, any other number keeps it.
    ///
    /// # Shapes
    /// - `attention_mask`: `[batch, keys]`
    #[must_use]
    pub fn from_attention_mask(attention_mask: Tensor<2, Int>) -> Self {
        Self { hidden: attention_mask.equal_elem(0.elem::<i64>()) }
    }

    /// `[batch, keys]`, `true` where hidden.
    #[must_use]
    pub fn hidden(&self) -> Tensor<2, Bool> {
        self.hidden.clone()
    }

    /// `[batch, keys]`.
    #[must_use]
    pub fn dims(&self) -> [usize; 2] {
        self.hidden.dims()
    }

    /// The keys `start..start + length` of every row.
    ///
    /// # Panics
    /// If the range ends beyond the mask.
    #[must_use]
    pub fn narrow(&self, start: usize, length: usize) -> Self {
        Self { hidden: self.hidden.clone().narrow(1, start, length) }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn an_attention_mask_hides_where_it_is_zero() {
        let mask = Tensor::from_data([[1, 0, 2], [0, 0, -1]], &Device::flex());
        let mask = KeyMask::from_attention_mask(mask);
        let hidden = TensorData::from([[false, true, false], [true, true, false]]);
        mask.hidden().into_data().assert_eq(&hidden, false);
        let last = TensorData::from([[true, false], [true, false]]);
        mask.narrow(1, 2).hidden().into_data().assert_eq(&last, false);
    }
}
