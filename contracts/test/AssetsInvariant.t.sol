// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Assets} from "../src/Assets.sol";
import {Directory} from "../src/Directory.sol";
import {IAssets} from "../src/interfaces/IAssets.sol";
import {AssetsHandler} from "./helpers/AssetsHandler.sol";
import {FuzzSelector, Test} from "./helpers/Test.sol";

/// @dev The handler checks at each call that only the holder and whom it offered to acted, that only active members did,
/// and that nothing was made of what has a higher id.
contract AssetsInvariantTest is Test {
    AssetsHandler private handler;
    Assets private assets;
    Directory private directory;

    function setUp() public {
        handler = new AssetsHandler();
        (address theAssets, address theDirectory) = handler.contracts();
        (assets, directory) = (Assets(theAssets), Directory(theDirectory));
    }

    /// @dev Read by forge: whom to call at random.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory calls = new bytes4[](13);
        calls[0] = AssetsHandler.toggle.selector;
        calls[1] = AssetsHandler.create.selector;
        calls[2] = AssetsHandler.create.selector;
        calls[3] = AssetsHandler.offer.selector;
        calls[4] = AssetsHandler.answer.selector;
        calls[5] = AssetsHandler.withdraw.selector;
        calls[6] = AssetsHandler.split.selector;
        calls[7] = AssetsHandler.transform.selector;
        calls[8] = AssetsHandler.bundle.selector;
        calls[9] = AssetsHandler.bundle.selector;
        calls[10] = AssetsHandler.unbundle.selector;
        calls[11] = AssetsHandler.recall.selector;
        calls[12] = AssetsHandler.seize.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), calls);
    }

    function invariant_QuantityAndMassAreConserved() public view {
        uint256 quantity = 0;
        uint256 mass = 0;
        for (uint256 id = 1; id <= handler.count(); ++id) {
            IAssets.Asset memory asset = assets.assetOf(id);
            if (asset.state != IAssets.State.Live) continue;
            quantity += asset.quantity;
            mass += asset.mass;
        }
        equal(quantity, uint256(handler.quantity()), "quantity created and transformed");
        equal(mass + handler.loss(), handler.massCreated(), "mass created");
    }

    function invariant_CustodyIsWhatMembersAgreedOn() public view {
        uint256 count = handler.count();
        uint256 escrowed = 0;
        uint256 live = 0;
        equal(assets.assetCount(), count, "count");
        for (uint256 id = 1; id <= count; ++id) {
            IAssets.Asset memory asset = assets.assetOf(id);
            (,, address offeredTo, uint256 bundle,,, bool recalled,,,) = handler.models(id);
            address holder = handler.holderOf(id);
            equal(assets.holderOf(id), holder, "holder");
            isTrue((asset.state == IAssets.State.Live) == (holder != address(0)), "ended with a holder");
            equal(asset.bundle, bundle, "bundle");
            isTrue(asset.recalled == recalled, "recalled");
            (address to,) = assets.offerOf(id);
            equal(to, offeredTo, "offered to");
            if (holder == address(0)) continue;
            ++live;
            isTrue(directory.memberOf(holder).admittedAt != 0, "held by somebody who never was a member");
            isTrue((assets.ownerOf(id) == address(assets)) == (bundle != 0), "escrow");
            if (bundle == 0) continue;
            ++escrowed;
            isTrue(bundle > id && to == address(0), "a cycle, or a bundled child on offer");
        }
        equal(assets.balanceOf(address(assets)), escrowed, "escrow holds exactly what is bundled");
        uint256 held = escrowed;
        for (uint256 i = 0; i < 4; ++i) {
            held += assets.balanceOf(handler.actors(i));
        }
        equal(held, live, "held by members or in escrow");
    }
}
