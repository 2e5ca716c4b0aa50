// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Assets} from "../../src/Assets.sol";
import {Directory} from "../../src/Directory.sol";
import {Notary} from "../../src/Notary.sol";
import {IAssets} from "../../src/interfaces/IAssets.sol";
import {Test} from "./Test.sol";
import {Trees} from "./Trees.sol";

/// @notice The three contracts, four members and a batch of the mine's statements with their evidence.
abstract contract AssetsFixture is Test {
    uint64 internal constant START = 1_700_000_000;
    bytes32 internal constant TRANSFER = bytes32(uint256(0x7a));
    bytes32 internal constant RECEIPT = bytes32(uint256(0x4e));
    bytes32 internal constant REASON = bytes32(uint256(0xbad));

    address internal immutable mine = account("mine");
    address internal immutable fab = account("fab");
    address internal immutable shop = account("shop");
    address internal immutable lab = account("lab");
    address internal immutable outsider = account("outsider");
    Directory internal directory;
    Notary internal notary;
    Assets internal assets;
    bytes32 internal root;
    /// @dev Computed ahead: hashing calls the precompile, which `expectRevert` would take for the call it waits for.
    IAssets.Evidence[] internal proofs;

    function setUp() public virtual {
        vm.warp(START);
        directory = new Directory(address(this));
        notary = new Notary(directory);
        assets = new Assets(notary);
        directory.admit(mine, "Mine AG");
        directory.admit(fab, "Fab");
        directory.admit(shop, "Shop");
        directory.admit(lab, "Lab");
        bytes32[] memory batch = Trees.digests(0, 5);
        root = Trees.root(batch);
        for (uint64 i = 0; i < batch.length; ++i) {
            proofs.push(IAssets.Evidence(mine, root, 5, i, batch[i], Trees.path(batch, i)));
        }
        vm.prank(mine);
        notary.anchor(root, 5);
    }

    function _spec(uint128 quantity, uint128 mass) internal pure returns (IAssets.Spec memory) {
        return IAssets.Spec(IAssets.Kind.Lot, "H87", quantity, mass);
    }

    function _specs(uint256 count, uint128 quantity, uint128 mass) internal pure returns (IAssets.Spec[] memory list) {
        list = new IAssets.Spec[](count);
        for (uint256 i = 0; i < count; ++i) {
            list[i] = _spec(quantity, mass);
        }
    }

    function _parts(uint128 first, uint128 second, uint128 firstMass, uint128 secondMass)
        internal
        pure
        returns (IAssets.Part[] memory list)
    {
        list = new IAssets.Part[](2);
        (list[0], list[1]) = (IAssets.Part(first, firstMass), IAssets.Part(second, secondMass));
    }

    function _ids(uint256 first) internal pure returns (uint256[] memory list) {
        list = new uint256[](1);
        list[0] = first;
    }

    function _ids(uint256 first, uint256 second) internal pure returns (uint256[] memory list) {
        list = new uint256[](2);
        (list[0], list[1]) = (first, second);
    }

    function _lot(address who, uint128 quantity, uint128 mass) internal returns (uint256) {
        vm.prank(who);
        return assets.create(_specs(1, quantity, mass), proofs[0]);
    }

    function _offer(uint256 id, address from, address to, bytes32 transfer) internal {
        vm.prank(from);
        assets.offer(id, to, transfer);
    }

    function _give(uint256 id, address from, address to) internal {
        _offer(id, from, to, TRANSFER);
        vm.prank(to);
        assets.accept(id, TRANSFER, RECEIPT);
    }

    function _bundle(address who, uint256[] memory children) internal returns (uint256) {
        vm.prank(who);
        return assets.bundle(children, "7610000000001");
    }

    function _recall(uint256 id, address who) internal {
        vm.prank(who);
        assets.recall(id, REASON);
    }

    function _refused(address who, bytes4 selector) internal {
        vm.expectRevert(abi.encodeWithSelector(selector));
        vm.prank(who);
    }

    function _refused(address who, bytes4 selector, uint256 first) internal {
        vm.expectRevert(abi.encodeWithSelector(selector, first));
        vm.prank(who);
    }

    function _refused(address who, bytes4 selector, uint256 first, uint256 second) internal {
        vm.expectRevert(abi.encodeWithSelector(selector, first, second));
        vm.prank(who);
    }

    function _refused(address who, bytes4 selector, uint256 first, address second) internal {
        vm.expectRevert(abi.encodeWithSelector(selector, first, second));
        vm.prank(who);
    }

    function _refused(address who, bytes4 selector, address first) internal {
        vm.expectRevert(abi.encodeWithSelector(selector, first));
        vm.prank(who);
    }

    function _isLive(uint256 id, address holder, uint128 quantity, uint128 mass) internal view {
        IAssets.Asset memory asset = assets.assetOf(id);
        equal(uint256(asset.state), uint256(IAssets.State.Live), "state");
        equal(asset.quantity, quantity, "quantity");
        equal(asset.mass, mass, "mass");
        equal(assets.holderOf(id), holder, "holder");
    }

    function _ended(uint256 id, IAssets.State state) internal view {
        equal(uint256(assets.assetOf(id).state), uint256(state), "state");
        equal(assets.holderOf(id), address(0), "holder of what has ended");
    }
}
