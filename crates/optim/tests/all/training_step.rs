use klayer_linalg::random::{fill_normal, stream};
use klayer_linalg::{ColMajor, Par, RowMajor, Scalar};
use klayer_nn::model_file::{MODEL, encode};
use klayer_nn::{Architecture, Gradients, Init, Network, Workspace};
use klayer_optim::{L2, Sgd};

const BATCH: usize = 50;

/// A training whose first layer runs on the kernels and whose second is cut into several products.
struct Training<T> {
    network: Network<T>,
    workspace: Workspace<T>,
    gradients: Gradients<T>,
    images: ColMajor<T>,
    labels: Vec<u8>,
    sgd: Sgd,
}

impl<T: Scalar> Training<T> {
    fn new(batch_norm: bool, par: Par) -> Self {
        let inputs = 868;
        let architecture = Architecture::new(inputs, &[434, 20], 10, batch_norm).unwrap();
        let (mut rows, mut images) = (RowMajor::zeros(BATCH, inputs), ColMajor::zeros(inputs, BATCH));
        fill_normal(&mut rows, 1.0, &mut stream(42, "images"));
        rows.rows().enumerate().for_each(|(j, image)| images.col_mut(j).copy_from_slice(image));
        Self {
            network: Network::new(&architecture, Init::He, &mut stream(42, "init")).unwrap(),
            workspace: Workspace::new(&architecture, BATCH, par.clone()),
            gradients: Gradients::zeros(&architecture),
            images,
            labels: (0..BATCH).map(|j| (j % 10) as u8).collect(),
            sgd: Sgd { l2: L2::new(1e-3).unwrap(), par },
        }
    }

    fn step(&mut self) -> f64 {
        let Self { network, workspace, gradients, images, labels, sgd } = self;
        let loss = network.forward_train(images.as_ref(), workspace).unwrap().cross_entropy(labels).unwrap();
        network.backward(images.as_ref(), workspace, gradients).unwrap();
        sgd.step(network, gradients, 0.05);
        loss
    }

    /// The bits of some losses and of the network after them.
    fn run(mut self) -> (Vec<u64>, Vec<u8>) {
        let losses = (0..4).map(|_| self.step().to_bits()).collect();
        (losses, encode(&MODEL, &self.network, &()).unwrap())
    }
}

#[test]
fn the_number_of_threads_changes_no_bit_of_a_training() {
    fn check<T: Scalar>(batch_norm: bool) {
        let alone = Training::<T>::new(batch_norm, Par::Seq).run();
        for threads in [1, 2, 4] {
            let par = Par::threads(threads).unwrap();
            assert!(Training::<T>::new(batch_norm, par).run() == alone, "{threads} threads, {}", T::NAME);
        }
        // Nor does it matter whether the caller is one of the pool's own threads.
        let par = Par::threads(2).unwrap();
        let inside = par.install(|| Training::<T>::new(batch_norm, par.clone()).run());
        assert!(inside == alone, "inside the pool, {}", T::NAME);
    }
    check::<f32>(true);
    check::<f32>(false);
    check::<f64>(true);
}

#[test]
fn a_training_step_allocates_nothing() {
    fn check<T: Scalar>(batch_norm: bool, par: Par) {
        let mut training = Training::<T>::new(batch_norm, par);
        // The first step may set up what lasts: the products' buffers, for each thread.
        training.step();
        let allocations = allocation_counter::measure(|| {
            for _ in 0..3 {
                training.step();
            }
        });
        assert_eq!(allocations.count_total, 0, "{allocations:?}, {}, batch norm {batch_norm}", T::NAME);
    }
    for batch_norm in [true, false] {
        check::<f32>(batch_norm, Par::Seq);
        check::<f64>(batch_norm, Par::Seq);
    }
    // The counter counts: making a workspace is nothing but allocations.
    let counted = allocation_counter::measure(|| drop(Training::<f32>::new(true, Par::Seq)));
    assert!(counted.count_total > 10, "{counted:?}");
}
