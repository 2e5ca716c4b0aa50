// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAssets} from "../src/interfaces/IAssets.sol";
import {AssetsFixture} from "./helpers/AssetsFixture.sol";

/// @notice Assets are made of assets: split, transform, bundle and unbundle.
contract AssetsMakingTest is AssetsFixture {
    // Split

    function test_Split_EndsTheLotAndItsPartsBegin() public {
        uint256 id = _lot(mine, 10, 7);
        _give(id, mine, fab);
        IAssets.Part[] memory parts = _parts(4, 6, 2, 5);
        vm.expectEmit(address(assets));
        emit IAssets.Split(id, fab, id + 1, parts);
        vm.prank(fab);
        equal(assets.split(id, parts), id + 1, "first");
        _ended(id, IAssets.State.Split);
        _isLive(id + 1, fab, 4, 2);
        _isLive(id + 2, fab, 6, 5);
        IAssets.Asset memory part = assets.assetOf(id + 2);
        equal(part.maker, mine, "the parts keep the lot's maker");
        equal(part.unit, "H87", "unit");
        equal(uint256(part.kind), uint256(IAssets.Kind.Lot), "kind");
        equal(assets.assetOf(id).quantity, 10, "what has ended keeps what it was");
    }

    function test_Split_SumsAreEqual() public {
        uint256 id = _lot(mine, 10, 7);
        vm.expectRevert(abi.encodeWithSelector(IAssets.QuantityMismatch.selector, 9, 10));
        vm.prank(mine);
        assets.split(id, _parts(4, 5, 2, 5));
        vm.expectRevert(abi.encodeWithSelector(IAssets.QuantityMismatch.selector, uint256(type(uint128).max) + 11, 10));
        vm.prank(mine);
        assets.split(id, _parts(type(uint128).max, 11, 2, 5));
        vm.expectRevert(abi.encodeWithSelector(IAssets.MassMismatch.selector, 8, 7));
        vm.prank(mine);
        assets.split(id, _parts(4, 6, 2, 6));
        _refused(mine, IAssets.NoMass.selector, 1);
        assets.split(id, _parts(4, 6, 7, 0));
        _refused(mine, IAssets.NoQuantity.selector);
        assets.split(id, _parts(10, 0, 2, 5));
        uint256 unweighed = _lot(mine, 10, 0);
        vm.expectRevert(abi.encodeWithSelector(IAssets.MassMismatch.selector, 1, 0));
        vm.prank(mine);
        assets.split(unweighed, _parts(4, 6, 1, 0));
        vm.prank(mine);
        assets.split(unweighed, _parts(4, 6, 0, 0));
    }

    function test_Split_OnlyALotOfTheCallersIntoTwoTo128() public {
        uint256 id = _lot(mine, 10, 0);
        _refused(fab, IAssets.NotHolder.selector, id, fab);
        assets.split(id, _parts(4, 6, 0, 0));
        vm.expectRevert(abi.encodeWithSelector(IAssets.BadCount.selector, 1, 2, 128));
        vm.prank(mine);
        assets.split(id, new IAssets.Part[](1));
        vm.expectRevert(abi.encodeWithSelector(IAssets.BadCount.selector, 129, 2, 128));
        vm.prank(mine);
        assets.split(id, new IAssets.Part[](129));
        uint256 pallet = _bundle(mine, _ids(id));
        _refused(mine, IAssets.NotALot.selector, pallet);
        assets.split(pallet, _parts(4, 6, 0, 0));
        IAssets.Spec[] memory specs = _specs(1, 10, 0);
        specs[0].kind = IAssets.Kind.Component;
        vm.prank(mine);
        uint256 component = assets.create(specs, proofs[0]);
        _refused(mine, IAssets.NotALot.selector, component);
        assets.split(component, _parts(4, 6, 0, 0));
    }

    function testFuzz_Split_ConservesQuantityAndMass(uint128[2] memory quantities, uint128[2] memory masses) public {
        quantities[0] = uint128(bound(quantities[0], 1, type(uint128).max - 1));
        quantities[1] = uint128(bound(quantities[1], 1, type(uint128).max - quantities[0]));
        masses[0] = uint128(bound(masses[0], 1, type(uint128).max - 1));
        masses[1] = uint128(bound(masses[1], 1, type(uint128).max - masses[0]));
        uint256 id = _lot(mine, quantities[0] + quantities[1], masses[0] + masses[1]);
        vm.prank(mine);
        assets.split(id, _parts(quantities[0], quantities[1], masses[0], masses[1]));
        _isLive(id + 1, mine, quantities[0], masses[0]);
        _isLive(id + 2, mine, quantities[1], masses[1]);
    }

    // Transform

    function test_Transform_EndsTheInputsAndTheOutputsBegin() public {
        uint256 ore = _lot(mine, 10, 70);
        _give(ore, mine, fab);
        uint256 gas = _lot(fab, 3, 5);
        IAssets.Spec[] memory outputs = _specs(2, 200, 30);
        outputs[1].kind = IAssets.Kind.Component;
        outputs[1].unit = "E50";
        vm.expectEmit(address(assets));
        emit IAssets.Transformed(fab, gas + 1, _ids(ore, gas), outputs, 15);
        vm.prank(fab);
        equal(assets.transform(_ids(ore, gas), outputs), gas + 1, "first");
        _ended(ore, IAssets.State.Transformed);
        _ended(gas, IAssets.State.Transformed);
        _isLive(gas + 1, fab, 200, 30);
        _isLive(gas + 2, fab, 200, 30);
        equal(assets.assetOf(gas + 1).maker, fab, "maker");
        equal(uint256(assets.assetOf(gas + 2).kind), uint256(IAssets.Kind.Component), "kind");
        equal(assets.assetOf(gas + 2).unit, "E50", "unit");
    }

    function test_Transform_StatesNoMoreMassThanItsInputs() public {
        uint256 weighed = _lot(mine, 10, 70);
        uint256 unweighed = _lot(mine, 10, 0);
        vm.expectRevert(abi.encodeWithSelector(IAssets.MassExceeded.selector, 72, 70));
        vm.prank(mine);
        assets.transform(_ids(weighed), _specs(2, 1, 36));
        // An input that states no mass lends none: it could be anything.
        vm.expectRevert(abi.encodeWithSelector(IAssets.MassExceeded.selector, 72, 70));
        vm.prank(mine);
        assets.transform(_ids(weighed, unweighed), _specs(2, 1, 36));
        vm.expectRevert(abi.encodeWithSelector(IAssets.MassExceeded.selector, 1, 0));
        vm.prank(mine);
        assets.transform(_ids(unweighed), _specs(1, 1, 1));
        vm.prank(mine);
        assets.transform(_ids(weighed, unweighed), _specs(2, 1, 35));
    }

    function test_Transform_StatesAMassWhenEveryInputDoes() public {
        uint256 weighed = _lot(mine, 10, 70);
        uint256 unweighed = _lot(mine, 10, 0);
        IAssets.Spec[] memory outputs = _specs(2, 1, 35);
        outputs[1].mass = 0;
        _refused(mine, IAssets.NoMass.selector, 1);
        assets.transform(_ids(weighed), outputs);
        vm.prank(mine);
        assets.transform(_ids(weighed, unweighed), outputs);
    }

    function test_Transform_OnlyLotsAndComponentsOfTheCallersEachOnce() public {
        uint256 first = _lot(mine, 10, 0);
        uint256 second = _lot(mine, 10, 0);
        _refused(fab, IAssets.NotHolder.selector, first, fab);
        assets.transform(_ids(first), _specs(1, 1, 0));
        _refused(mine, IAssets.NotLive.selector, first, uint256(IAssets.State.Transformed));
        assets.transform(_ids(first, first), _specs(1, 1, 0));
        _give(second, mine, fab);
        _refused(mine, IAssets.NotHolder.selector, second, mine);
        assets.transform(_ids(first, second), _specs(1, 1, 0));
        uint256 pallet = _bundle(mine, _ids(first));
        _refused(mine, IAssets.IsABundle.selector, pallet);
        assets.transform(_ids(pallet), _specs(1, 1, 0));
        // What is not made yet can't be consumed.
        _refused(mine, IAssets.NotLive.selector, pallet + 1, uint256(IAssets.State.Unknown));
        assets.transform(_ids(pallet + 1), _specs(1, 1, 0));
    }

    function test_Transform_OneTo128OnBothSidesAndProperOutputs() public {
        uint256 id = _lot(mine, 10, 0);
        vm.expectRevert(abi.encodeWithSelector(IAssets.BadCount.selector, 0, 1, 128));
        vm.prank(mine);
        assets.transform(new uint256[](0), _specs(1, 1, 0));
        vm.expectRevert(abi.encodeWithSelector(IAssets.BadCount.selector, 129, 1, 128));
        vm.prank(mine);
        assets.transform(new uint256[](129), _specs(1, 1, 0));
        vm.expectRevert(abi.encodeWithSelector(IAssets.BadCount.selector, 0, 1, 128));
        vm.prank(mine);
        assets.transform(_ids(id), _specs(0, 1, 0));
        vm.expectRevert(abi.encodeWithSelector(IAssets.BadCount.selector, 129, 1, 128));
        vm.prank(mine);
        assets.transform(_ids(id), _specs(129, 1, 0));
        _refused(mine, IAssets.NoQuantity.selector);
        assets.transform(_ids(id), _specs(1, 0, 0));
    }

    function testFuzz_Transform_NeverMakesMass(uint64[2] memory inputs, uint64[2] memory outputs) public {
        uint256 first = _lot(mine, 1, inputs[0]);
        uint256 second = _lot(mine, 1, inputs[1]);
        IAssets.Spec[] memory specs = _specs(2, 1, 0);
        (specs[0].mass, specs[1].mass) = (outputs[0], outputs[1]);
        uint256 before = uint256(inputs[0]) + inputs[1];
        uint256 made = uint256(outputs[0]) + outputs[1];
        bool weighed = inputs[0] != 0 && inputs[1] != 0;
        bool stated = outputs[0] != 0 && outputs[1] != 0;
        vm.prank(mine);
        try assets.transform(_ids(first, second), specs) {
            isTrue(made <= before && (stated || !weighed), "transformed against the rules");
        } catch {
            isTrue(made > before || (weighed && !stated), "a proper transformation was refused");
        }
    }

    // Bundle

    function test_Bundle_LocksItsChildren() public {
        uint256 first = _lot(mine, 10, 7);
        uint256 second = _lot(mine, 5, 0);
        vm.expectEmit(address(assets));
        emit IAssets.Bundled(second + 1, mine, _ids(first, second), "7610000000001");
        uint256 pallet = _bundle(mine, _ids(first, second));
        equal(pallet, second + 1, "id");
        IAssets.Asset memory asset = assets.assetOf(pallet);
        equal(uint256(asset.kind), uint256(IAssets.Kind.Bundle), "kind");
        equal(asset.levels, 1, "levels");
        equal(asset.maker, mine, "maker");
        _isLive(pallet, mine, 0, 0);
        _isLive(first, mine, 10, 7);
        equal(assets.ownerOf(first), address(assets), "escrow");
        equal(assets.assetOf(first).bundle, pallet, "bundle");
        uint256[] memory children = assets.childrenOf(pallet);
        equal(children.length, 2, "children");
        equal(children[0], first, "first");
        equal(children[1], second, "second");
        _refused(mine, IAssets.InBundle.selector, first, pallet);
        assets.offer(first, fab, 0);
        _refused(mine, IAssets.InBundle.selector, first, pallet);
        assets.split(first, _parts(4, 6, 2, 5));
        _refused(mine, IAssets.InBundle.selector, first, pallet);
        assets.transform(_ids(first), _specs(1, 1, 0));
        _refused(mine, IAssets.InBundle.selector, first, pallet);
        assets.bundle(_ids(first), "elsewhere");
        _refused(mine, IAssets.InBundle.selector, first, pallet);
        assets.withdraw(first);
    }

    function test_Bundle_MovesWithAllThatIsInItAndUnbundles() public {
        uint256 first = _lot(mine, 10, 7);
        uint256 second = _lot(mine, 5, 0);
        uint256 box = _bundle(mine, _ids(first));
        uint256 pallet = _bundle(mine, _ids(box, second));
        equal(assets.assetOf(pallet).levels, 2, "levels");
        _give(pallet, mine, fab);
        equal(assets.holderOf(first), fab, "at the bottom");
        _refused(fab, IAssets.InBundle.selector, box, pallet);
        assets.unbundle(box);
        vm.expectEmit(address(assets));
        emit IAssets.Unbundled(pallet, fab);
        vm.prank(fab);
        assets.unbundle(pallet);
        _ended(pallet, IAssets.State.Unbundled);
        equal(assets.childrenOf(pallet).length, 0, "children of what has ended");
        equal(assets.ownerOf(box), fab, "box");
        equal(assets.ownerOf(second), fab, "second");
        equal(assets.assetOf(box).bundle, 0, "bundle");
        vm.prank(fab);
        assets.unbundle(box);
        _give(first, fab, shop);
        _refused(fab, IAssets.NotLive.selector, pallet, uint256(IAssets.State.Unbundled));
        assets.unbundle(pallet);
    }

    function test_Bundle_OnlyWhatTheCallerHoldsEachOnce() public {
        uint256 id = _lot(mine, 10, 0);
        _refused(fab, IAssets.NotHolder.selector, id, fab);
        assets.bundle(_ids(id), "here");
        _refused(mine, IAssets.InBundle.selector, id, id + 1);
        assets.bundle(_ids(id, id), "here");
        // Not even itself.
        _refused(mine, IAssets.NotLive.selector, id + 1, uint256(IAssets.State.Unknown));
        assets.bundle(_ids(id + 1), "here");
        uint256 pallet = _bundle(mine, _ids(id));
        _refused(fab, IAssets.NotHolder.selector, pallet, fab);
        assets.unbundle(pallet);
        uint256 lot = _lot(mine, 1, 0);
        _refused(mine, IAssets.NotABundle.selector, lot);
        assets.unbundle(lot);
    }

    function test_Bundle_HasAPlaceAndOneTo128Children() public {
        uint256 id = _lot(mine, 10, 0);
        _refused(mine, IAssets.BadPlaceLength.selector, 0, uint256(256));
        assets.bundle(_ids(id), "");
        _refused(mine, IAssets.BadPlaceLength.selector, 257, uint256(256));
        assets.bundle(_ids(id), string(new bytes(257)));
        vm.expectRevert(abi.encodeWithSelector(IAssets.BadCount.selector, 0, 1, 128));
        vm.prank(mine);
        assets.bundle(new uint256[](0), "here");
        vm.expectRevert(abi.encodeWithSelector(IAssets.BadCount.selector, 129, 1, 128));
        vm.prank(mine);
        assets.bundle(new uint256[](129), "here");
        vm.prank(mine);
        assets.bundle(_ids(id), string(new bytes(256)));
    }

    function test_Bundle_HasAtMost16Levels() public {
        uint256 bottom = _lot(mine, 10, 0);
        uint256 top = bottom;
        for (uint256 i = 0; i < 16; ++i) {
            top = _bundle(mine, _ids(top));
        }
        equal(assets.assetOf(top).levels, 16, "levels");
        equal(assets.holderOf(bottom), mine, "holder");
        _refused(mine, IAssets.TooManyLevels.selector, top, uint256(16));
        assets.bundle(_ids(top), "here");
    }
}
