use burn::tensor::Tensor;
use ndarray::Array2;

/// `[latents, latent_channels]` of one input's latents, `[1, latents, latent_channels]`.
pub(crate) fn latent_rows(latents: Tensor<3>) -> Array2<f32> {
    let [_, count, channels] = latents.dims();
    let values = latents.into_data().iter::<f32>().collect();
    Array2::from_shape_vec((count, channels), values).expect("a tensor is whole")
}
