// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAssets} from "../src/interfaces/IAssets.sol";
import {AssetsFixture} from "./helpers/AssetsFixture.sol";

/// @notice What the calls of Assets cost, recorded as Gas.t.sol's are. The lots are in the mine's hands, which has others,
/// too: its balance never becomes zero.
contract AssetsGasTest is AssetsFixture {
    IAssets.Evidence private evidence;
    uint256 private lot;
    uint256 private offered;
    uint256 private pallet;
    uint256[] private ten;

    function setUp() public override {
        super.setUp();
        evidence = proofs[0];
        lot = _lot(mine, 10e6, 70);
        offered = _lot(mine, 10e6, 70);
        _give(_lot(mine, 1, 1), mine, fab);
        _offer(offered, mine, fab, TRANSFER);
        uint256[] memory inside = new uint256[](10);
        for (uint256 i = 0; i < 10; ++i) {
            ten.push(_lot(mine, 10e6, 70));
            inside[i] = _lot(mine, 10e6, 70);
        }
        pallet = _bundle(mine, inside);
    }

    function test_Create1() public {
        _create(1);
    }

    function test_Create10() public {
        _create(10);
    }

    function test_Create128() public {
        isTrue(_create(128) < 1 << 24, "more than a transaction may take");
    }

    function test_Link() public {
        IAssets.Evidence memory copy = proofs[1];
        uint256[] memory ids = _ids(lot);
        _coldAs(mine);
        assets.link(ids, copy);
    }

    function test_OfferWithATransfer() public {
        _coldAs(mine);
        assets.offer(lot, fab, TRANSFER);
    }

    function test_Accept() public {
        _coldAs(fab);
        assets.accept(offered, TRANSFER, RECEIPT);
    }

    function test_Reject() public {
        _coldAs(fab);
        assets.reject(offered, TRANSFER, RECEIPT);
    }

    function test_Withdraw() public {
        _coldAs(mine);
        assets.withdraw(offered);
    }

    function test_SplitInto2() public {
        IAssets.Part[] memory parts = _parts(4e6, 6e6, 30, 40);
        _coldAs(mine);
        assets.split(lot, parts);
    }

    function test_Transform10Into1() public {
        uint256[] memory inputs = ten;
        IAssets.Spec[] memory outputs = _specs(1, 1e6, 700);
        _coldAs(mine);
        assets.transform(inputs, outputs);
    }

    function test_Transform128Into128() public {
        vm.prank(mine);
        uint256 first = assets.create(_specs(128, 1, 0), evidence);
        uint256[] memory inputs = new uint256[](128);
        for (uint256 i = 0; i < 128; ++i) {
            inputs[i] = first + i;
        }
        IAssets.Spec[] memory outputs = _specs(128, 1e6, 0);
        _coldAs(mine);
        uint256 before = gasleft();
        assets.transform(inputs, outputs);
        isTrue(before - gasleft() < 1 << 24, "more than a transaction may take");
    }

    function test_Bundle10() public {
        uint256[] memory children = ten;
        _coldAs(mine);
        assets.bundle(children, "7610000000001");
    }

    function test_Unbundle10() public {
        _coldAs(mine);
        assets.unbundle(pallet);
    }

    function test_Recall() public {
        _coldAs(mine);
        assets.recall(lot, REASON);
    }

    function _create(uint256 count) private returns (uint256) {
        IAssets.Evidence memory copy = evidence;
        IAssets.Spec[] memory specs = _specs(count, 1e6, 70);
        _coldAs(mine);
        uint256 before = gasleft();
        assets.create(specs, copy);
        return before - gasleft();
    }

    function _coldAs(address who) private {
        vm.cool(address(directory));
        vm.cool(address(notary));
        vm.cool(address(assets));
        vm.prank(who);
    }
}
